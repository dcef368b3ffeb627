"""Every operation in one program: the same bits with any number of threads, at any number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_runs import tensor, weight

from realizar_lambda import native, ops
from realizar_lambda.builder import Builder
from realizar_lambda.program import ACTIVATIONS, Buffer, Program, Step
from realizar_lambda.session import Session

WIDTH = 256
N_HEADS, N_KV_HEADS, HEAD_WIDTH, CAPACITY = 8, 4, 32, 80
MAX_TOKENS = 33
RUNS = [(1, 0), (5, 1), (33, 6)]
"""(tokens, position): one after another over the same cache."""


def everything(n_threads: int) -> tuple[Program, dict[str, Buffer]]:
    """A program whose output every operation has a share in, and its inputs."""
    b = Builder(max_tokens=MAX_TOKENS, n_threads=n_threads)
    ids, x, pixels = b.input("ids", 1, "i32"), b.input("x", WIDTH), b.input("pixels", WIDTH, "u8")
    total = b.input("total", WIDTH)
    vector, quarter = (tensor(f"vector{n}", np.linspace(0.5, 1.5, n)) for n in (WIDTH, WIDTH // 4))
    for block in ops.MATMUL_BLOCKS:
        b.add(total, b.embed(ids, weight(block, 5, WIDTH)))
        b.matmul(x, weight(block, WIDTH, WIDTH), bias=vector, residual=total, out=total)
        h = b.matmul(x, weight(block, 37, WIDTH), name="odd")
        b.matmul(h, weight("F32", WIDTH, 37), residual=total, out=total)
    for block in sorted(ops.DENSE_BLOCKS):
        b.matmul(x, weight(block, WIDTH, WIDTH), bias=vector, residual=total, out=total, is_sparse=True)
    h = b.columns(weight("F32", WIDTH, WIDTH))
    b.fill_columns(h, weight("F32", WIDTH, WIDTH), b.constant([0.5, 2.0]))
    b.add(total, b.add_columns(x, h, b.input("bias", WIDTH), n_rows=WIDTH, relu=True))
    for source in (pixels, x):
        b.add(total, b.normalise_input(source, b.constant([0.1, 0.2]), b.constant([0.0, 1.0])))
    h = b.normalise_input(x, b.constant([0.1, 0.2]), b.constant([0.0, 1.0]), for_dense=True)
    b.matmul(h, weight("F32", WIDTH, WIDTH), residual=total, out=total)
    for name in ACTIVATIONS:
        b.add(total, b.activation(name, b.rms_norm(total, quarter, 1e-5, n_groups=4)))
    for name in ("silu", "gelu"):
        b.add(total, b.gated(name, b.layer_norm(total, vector, vector, 1e-5), x))
    b.clamp(b.soft_cap(b.multiply(total, 0.5), 30.0), 29.0)
    positions = tensor("positions", np.random.default_rng(0).normal(size=(CAPACITY, WIDTH)))
    for element in ("f16", "f32"):
        k, v = (b.matmul(total, weight("F32", N_KV_HEADS * HEAD_WIDTH, WIDTH, seed), name=f"kv{seed}")
                for seed in (1, 2))  # fmt: skip
        angles = b.rope_angles([10_000.0 ** (-i / 16) for i in range(16)])
        keys, values = (
            b.cache(f"{name}.{element}", n_heads=N_KV_HEADS, head_width=HEAD_WIDTH, capacity=CAPACITY, element=element)
            for name in ("keys", "values")
        )
        for layout in ("pairs", "halves"):
            b.rope(total, angles, n_heads=N_HEADS, layout=layout)
            b.rope(k, angles, n_heads=N_KV_HEADS, layout=layout)
        b.store(keys, k)
        b.store(values, v)
        b.add(total, b.attention(total, keys, values, n_heads=N_HEADS, n_kv_heads=N_KV_HEADS, scale=0.2))
        b.add_positions(total, positions, CAPACITY)
    last, chosen = b.input("last", WIDTH), b.input("chosen", 1, "i32")
    built = b.finish(total)
    steps = (
        *built.steps,
        Step("last_row", {"out": last, "x": total, "width": WIDTH}, True),
        Step("argmax", {"out": chosen, "x": total, "width": WIDTH}, True),
    )
    main = built.sections["main"]
    program = built._replace(steps=steps, sections={"main": main._replace(end=len(steps))})
    return program, {"ids": ids, "x": x, "pixels": pixels, "total": total, "last": last, "chosen": chosen}


def answers(library: native.Library, n_threads: int) -> list[bytes]:
    """The outputs, and every cache, after each of RUNS."""
    program, inputs = everything(n_threads)
    team = native.Team(n_threads, library, n_at_once=n_threads)
    caches = {b.name: bytearray(b.n_bytes) for b in program.buffers if b.is_cache}
    session = Session(program, team, caches=caches)
    random = np.random.default_rng(5)
    found = []
    for n, position in RUNS:
        np.asarray(session.view(inputs["ids"], n))[:] = random.integers(0, 5, n)
        np.asarray(session.view(inputs["x"], n))[:] = random.normal(size=n * WIDTH)
        np.asarray(session.view(inputs["pixels"], n))[:] = random.integers(0, 256, n * WIDTH)
        np.asarray(session.view(inputs["total"], n))[:] = 0.0
        session.run(n, position)
        assert np.isfinite(session.view(program.output, n)).all()
        views = [session.view(inputs[name], rows) for name, rows in (("total", n), ("last", 1), ("chosen", n))]
        found.append(b"".join(map(bytes, [*views, *caches.values()])))
    team.dismiss()
    return found


def test_the_program_holds_every_operation() -> None:
    program, _ = everything(1)
    assert {step.op for step in program.steps} == ops.OPS.keys()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_any_number_of_threads_gives_the_same_bits(library: native.Library, n_threads: int) -> None:
    assert answers(library, n_threads) == answers(library, 1)
