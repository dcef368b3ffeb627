"""Programs of a few operations, run by the kernels and by the oracle, and weights of every block type to run on."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from oracles.program import decoded

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.native import Library, Team
from realizar_lambda.ops import MAX_LANES, MIN_TILE_TOKENS, SLICE_BYTES, SLICE_COLUMNS
from realizar_lambda.program import Buffer, Program, Section, Step
from realizar_lambda.session import Session
from realizar_lambda.tensor import Tensor

N_TOKENS = (1, 2, 3, 4, 5, 15, 16, 17, 32, 33)
"""Around one row at a time, a vector of 8 or 16 tokens, and a tile of two vectors."""
MAX_TOKENS = max(N_TOKENS)
SENTINEL = 12345.0
LEAST_LEVELS = 123.25
"""What the largest of 32 activations is quantised to at least; at most it is 127."""

HALVES_AT = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "IQ4_NL": (0,), "IQ4_XS": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}  # fmt: skip
"""Where a block keeps its f16 scales; any other byte may have any value."""


def tensor(name: str, values: np.ndarray) -> Tensor:
    """An F32 tensor."""
    data = memoryview(np.ascontiguousarray(values, "<f4").tobytes())
    return Tensor(name, values.shape, BLOCKS["F32"], data, 0)


@lru_cache(maxsize=256)
def weight(block: str, n_rows: int, n_columns: int, seed: int = 0) -> Tensor:
    """A weight of random stored bytes: every code, every packed scale, f16 scales of either sign."""
    random = np.random.default_rng([seed, n_rows, n_columns])
    values = random.normal(size=(n_rows, n_columns)).astype("<f4")
    if block == "F32":
        data = values.tobytes()
    elif block == "F16":
        data = values.astype("<f2").tobytes()
    elif block == "BF16":
        data = (values.view("<u4") >> 16).astype("<u2").tobytes()
    else:
        kind = BLOCKS[block]
        stored = random.integers(0, 256, (n_rows * n_columns // kind.n_elements, kind.n_bytes), np.uint8)
        for at in HALVES_AT[block]:
            halves = random.normal(scale=0.01, size=len(stored)).astype("<f2")
            stored[:, at : at + 2] = halves[:, None].view(np.uint8)
        data = stored.tobytes()
    return Tensor(f"{block}.{n_rows}x{n_columns}", (n_rows, n_columns), BLOCKS[block], memoryview(data), 0)


def run(
    program: Program,
    library: Library,
    inputs: Mapping[Buffer, np.ndarray],
    *,
    n_tokens: Sequence[int],
    position: int = 0,
    read: Iterable[Buffer] = (),
) -> list[list[np.ndarray]]:
    """The kernels' answers for each number of tokens: the program's output, then the buffers in `read`.

    Every answer begins as a sentinel, and what lies beyond the tokens of a run must still hold it afterwards.
    """
    team = Team(program.n_threads, library)
    try:
        session = Session(program, team)
        watched = [program.output, *read]
        views = [np.asarray(session.view(buffer, buffer.rows)) for buffer in watched]
        found = []
        for n in n_tokens:
            for view in views:
                view[:] = SENTINEL
            for buffer, rows in inputs.items():
                np.asarray(session.view(buffer, n))[:] = np.ravel(rows[:n])
            session.run(n, position)
            tables = [view.reshape(buffer.rows, -1) for buffer, view in zip(watched, views, strict=True)]
            for buffer, table in zip(watched, tables, strict=True):
                assert (table[n:] == SENTINEL).all(), f"{buffer.name} was written beyond its {n} tokens"
            found.append([table[:n].copy() for table in tables])
        return found
    finally:
        team.dismiss()


def outputs(
    program: Program, library: Library, inputs: Mapping[Buffer, np.ndarray], n_tokens: Sequence[int] = N_TOKENS
) -> list[np.ndarray]:
    """As `run`, only the program's output."""
    return [answers[0] for answers in run(program, library, inputs, n_tokens=n_tokens)]


def of_steps(builder: Builder, output: Buffer, *steps: Step) -> Program:
    """A program of steps that no method of the builder makes just so, over the builder's buffers."""
    return builder.finish(output)._replace(
        steps=steps, sections={"main": Section("main", 0, len(steps), builder.max_tokens)}
    )


def matmul(stored: Tensor, *, n_threads: int = 1, max_tokens: int = MAX_TOKENS) -> tuple[Program, Buffer]:
    """The program of one matmul, and its input."""
    builder = Builder(max_tokens=max_tokens, n_threads=n_threads)
    x = builder.input("x", stored.shape[1])
    return builder.finish(builder.matmul(x, stored)), x


def activation(name: str, width: int, *, n_threads: int = 1) -> tuple[Program, Buffer]:
    """The program of one activation, which works in place, and its input."""
    builder = Builder(max_tokens=MAX_TOKENS, n_threads=n_threads)
    return builder.finish(builder.activation(name, x := builder.input("x", width))), x


@lru_cache(maxsize=256)
def values(stored: Tensor) -> np.ndarray:
    """The values of a stored weight in float64, by the oracle."""
    return decoded(stored)


Quantised = namedtuple("Quantised", "codes scales sums16 sums32")


def quantise(x: np.ndarray, library: Library) -> Quantised:
    """What the quantize operation makes of x (n_tokens, width), a few tokens at a time, in the layout of a token.

    codes (n_tokens, width) i8, scales (n_tokens, width / 32), sums (n_tokens, width / 16) and (n_tokens, width / 32).
    """
    n_tokens, width = x.shape
    program, source, q = quantize_program(width, n_tokens)
    session = Session(program, Team(1, library))
    parts = []
    step = MIN_TILE_TOKENS - 1
    for begin in range(0, n_tokens, step):
        rows = x[begin : begin + step].astype("f4")
        np.asarray(session.view(source, len(rows)))[:] = rows.ravel()
        session.run(len(rows))
        parts.append(of_slices(np.asarray(session.view(q, q.rows)), len(rows), width))
    return Quantised(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def of_slices(q: np.ndarray, n_tokens: int, width: int) -> Quantised:
    """The parts of a quantised buffer of few tokens, in the layout of a token."""
    slices = q[: -(-width // SLICE_COLUMNS) * n_tokens * SLICE_BYTES].reshape(-1, n_tokens, SLICE_BYTES)

    def part(begin: int, end: int, element: str, n: int) -> np.ndarray:
        found = np.ascontiguousarray(slices[:, :, begin:end].transpose(1, 0, 2)).view(element)
        return found.reshape(n_tokens, -1)[:, : width // n].copy()

    scales, sums32, sums16 = part(512, 544, "<f4", 32), part(544, 576, "<f4", 32), part(576, 640, "<f4", 16)
    return Quantised(part(0, 256, "i1", 1), scales, sums16, sums32)


def quantize_program(width: int, n_tokens: int) -> tuple[Program, Buffer, Buffer]:
    """The program of the quantize operation alone, its input and the bytes it makes."""
    builder = Builder(max_tokens=-(-n_tokens // MAX_LANES) * MAX_LANES)
    of_few = (MIN_TILE_TOKENS - 1) * -(-width // SLICE_COLUMNS) * SLICE_BYTES
    row_bytes = max(width * 3 // 2, -(-of_few // builder.max_tokens))
    x, q = builder.input("x", width), builder.input("q", row_bytes, "u8")
    return of_steps(builder, q, Step("quantize", {"q": q, "x": x, "width": width}, True)), x, q


def quantised(x: np.ndarray, library: Library) -> np.ndarray:
    """x (n_tokens, width) as a quantised matmul sees it: each code times the scale of its 32 values, in float64."""
    found = quantise(x, library)
    return found.codes.astype("f8") * np.repeat(found.scales.astype("f8"), 32, axis=1)


def rounding_bound(stored: Tensor, x: np.ndarray) -> np.ndarray:
    """How far f32 sums may lie from the exact product of a stored weight with x: (n_tokens, n_rows).

    A plain type's sum of n products is off by at most n 2^-24 sum |w x|, in whatever order. A quantised type's
    terms are scale * code * x and min * x, summed exactly within a group and in f32 between groups; each is at
    most 4 max|w| |x|, with the block's greatest |w| (code and min of one sign, 128 added to a signed code).
    """
    weights, sizes = np.abs(values(stored)), np.abs(x).astype("f8")
    n_columns = weights.shape[1]
    if not stored.block.is_quantized:
        return (n_columns + 4) * 2.0**-24 * (sizes @ weights.T)
    n = stored.block.n_elements
    greatest = np.repeat(weights.reshape(len(weights), -1, n).max(axis=2), n, axis=1)
    return (n_columns // 16 + 16) * 2.0**-24 * 4.0 * (sizes @ greatest.T)


def quantisation_bound(stored: Tensor, x: np.ndarray) -> np.ndarray:
    """How far quantised activations may lie from the exact product: (n_tokens, n_rows).

    x = d code + e with |e| <= d / 2 and d <= max|x| / LEAST_LEVELS of its 32 values, so the sum is off by at most
    sum |w| d / 2. The roundings of d and of x / d lengthen |e| by less than one part in 4,096; a group below
    4e-37, whose 1 / d is infinite, counts as zero, but for its sum, which may be 2**31 d.
    """
    greatest = np.repeat(np.abs(x).astype("f8").reshape(len(x), -1, 32).max(axis=2), 32, axis=1)
    error = np.where(greatest < 4e-37, 1e-25, greatest / (2.0 * LEAST_LEVELS) * (1.0 + 2.0**-12))
    return error @ np.abs(values(stored)).T
