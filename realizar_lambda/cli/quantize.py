"""`realizar-lambda quantize IN OUT --type Q4_K_M`: a model as GGUF in other block types.

It knows arguments, progress and tables; what is done is `realizar_lambda.quantize`'s matter, which needs NumPy
and numba (the `build` extra) and is imported only here.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from realizar_lambda.cli.terminal import columns, escaped, size_text
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats import open_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TextIO

    from realizar_lambda.quantize.rewrite import Planned, Written
    from realizar_lambda.quantize.source import Source

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS"
"""The names of `quantize.recipes.RECIPES`, here so that `--help` needs no NumPy."""

SHORT_TYPES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""Short names that users of llama.cpp know, and what they mean there and here."""

_SECONDS_BETWEEN_LINES = {True: 0.2, False: 5.0}
"""Whether a terminal reads the progress -> how often it is written."""

_LEAST_SHARE_TO_EXTRAPOLATE = 0.01
"""The first chunk includes compiling the searches, so a time left that is told from it would be far off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a .gguf file, or a .safetensors file or folder with config.json")
    parser.add_argument("output", metavar="OUT", nargs="?", help="the .gguf file to write")
    parser.add_argument("--type", required=True, metavar="TYPE", type=_recipe, help=f"one of {TYPES}")
    parser.add_argument(
        "--tensor-type",
        action="append",
        default=[],
        type=_override,
        metavar="PATTERN=TYPE",
        help="block type of the matrices whose name the regular expression is found in; the first that fits counts",
    )
    parser.add_argument("--pure", action="store_true", help="the same block type for every matrix")
    parser.add_argument("--importance", metavar="FILE", help="importance of columns, as llama-imatrix writes it")
    parser.add_argument("--pre-tokenizer", metavar="NAME", help="pre-tokenizer, where tokenizer.json does not tell")
    parser.add_argument("--dry-run", action="store_true", help="print what each tensor would become, write nothing")
    parser.add_argument("--threads", type=_count, default=len(os.sched_getaffinity(0)), metavar="N")


def _recipe(text: str) -> str:
    return SHORT_TYPES.get(text, text)


def _override(text: str) -> tuple[str, str]:
    pattern, equals, type_name = text.rpartition("=")
    if not equals or not pattern:
        raise argparse.ArgumentTypeError(f"PATTERN=TYPE, got {text!r}")
    return pattern, type_name


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"a count from 1 to 256, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    try:
        from realizar_lambda.quantize import importance, rewrite
    except ModuleNotFoundError as missing:
        raise UnsupportedError(f"quantising without {missing.name}", "pip install 'realizar-lambda[build]'") from None
    if arguments.output is None and not arguments.dry_run:
        print("error: OUT is missing", file=sys.stderr)
        return 2
    source = _source(arguments)
    weights = importance.read_importance(arguments.importance) if arguments.importance else None
    planned = rewrite.plan(
        source,
        arguments.type,
        has_importance=weights is not None,
        is_pure=arguments.pure,
        overrides=arguments.tensor_type,
    )
    for warning in warnings(source, planned):
        print(f"warning: {warning}", file=sys.stderr)
    if arguments.dry_run:
        print("\n".join(plan_lines(planned)))
        return 0
    progress = Progress(sum(item.tensor.n_bytes for item in planned), sys.stderr, time.monotonic)
    written = rewrite.rewrite(
        source,
        planned,
        arguments.output,
        recipe_name=arguments.type,
        importance=weights,
        n_threads=arguments.threads,
        progress=progress.advance,
    )
    progress.finish()
    print("\n".join(result_lines(written)))
    return 0


def _source(arguments: argparse.Namespace) -> Source:
    from realizar_lambda.quantize import huggingface, source

    model = open_model(arguments.input)
    if model.format.startswith("gguf"):
        return source.from_gguf(model)
    if model.format == "safetensors":
        return huggingface.from_huggingface(model, pre_tokenizer=arguments.pre_tokenizer)
    raise UnsupportedError(f"quantising a file of format {model.format}", "gguf, safetensors with config.json")


def warnings(source: Source, planned: Sequence[Planned]) -> list[str]:
    """What the user should know before: errors that add up, a file that others will not load."""
    found = []
    again = [item for item in planned if item.tensor.block.is_quantized and item.tensor.block.name != item.target]
    if again:
        found.append(f"{len(again)} tensors are quantised already; quantising them again adds to their error")
    if "tokenizer.ggml.model" not in source.metadata:
        found.append("there is no vocabulary in the model, so none in the file written: it will not take text")
    return found


def plan_lines(planned: Sequence[Planned]) -> list[str]:
    rows = [("tensor", "shape", "from", "to", "size")]
    rows += [
        (
            escaped(item.tensor.name),
            " x ".join(f"{size:,}" for size in item.tensor.shape),
            item.tensor.block.name,
            item.target,
            size_text(item.n_bytes),
        )
        for item in planned
    ]
    return [*columns(rows, right=(4,)), "", _total([(item.tensor.n_bytes, item.n_bytes) for item in planned], planned)]


def result_lines(written: Sequence[Written]) -> list[str]:
    rows = [("tensor", "from", "to", "size", "relative error")]
    rows += [
        (
            escaped(record.name),
            record.source,
            record.target,
            size_text(record.n_bytes),
            f"{record.relative_error:.3%}" if record.relative_error else "none",
        )
        for record in written
    ]
    n_bytes = sum(record.n_bytes for record in written)
    return [*columns(rows, right=(3, 4)), "", f"{size_text(n_bytes)} in {len(written)} tensors"]


def _total(sizes: Sequence[tuple[int, int]], planned: Sequence[Planned]) -> str:
    n_read, n_written = sum(size for size, _ in sizes), sum(size for _, size in sizes)
    n_elements = sum(item.tensor.n_rows * item.tensor.n_columns for item in planned)
    bits = 8 * n_written / max(1, n_elements)
    return f"{size_text(n_read)} -> {size_text(n_written)}, {bits:.2f} bits per weight"


class Progress:
    """A line on `stream` that says how far reading has come: rewritten on a terminal, else a new one now and then."""

    def __init__(self, n_total: int, stream: TextIO, clock: Callable[[], float]) -> None:
        self._n_total = n_total
        self._n_done = 0
        self._stream = stream
        self._clock = clock
        self._started = clock()
        self._is_terminal = stream.isatty()
        self._next_line = self._started + (0.0 if self._is_terminal else _SECONDS_BETWEEN_LINES[False])

    def advance(self, name: str, n_bytes: int) -> None:
        """`n_bytes` more of the tensor `name` were read."""
        self._n_done += n_bytes
        now = self._clock()
        if now >= self._next_line:
            self._next_line = now + _SECONDS_BETWEEN_LINES[self._is_terminal]
            self._write(f"{self.text(now)}  {escaped(name, max_characters=32)}")

    def finish(self) -> None:
        elapsed = self._clock() - self._started
        rate = self._n_done / elapsed if elapsed > 0 else 0.0
        self._write(f"{size_text(self._n_done)} read in {elapsed:.1f} s, {_rate_text(rate)}")
        if self._is_terminal:
            self._stream.write("\n")

    def text(self, now: float) -> str:
        elapsed = now - self._started
        share = self._n_done / self._n_total if self._n_total else 1.0
        rate = self._n_done / elapsed if elapsed > 0 else 0.0
        left = (self._n_total - self._n_done) / rate if share >= _LEAST_SHARE_TO_EXTRAPOLATE and rate else None
        left_text = "" if left is None else f"  {int(left) // 60}:{int(left) % 60:02d} left"
        done = f"{size_text(self._n_done)} of {size_text(self._n_total)}"
        return f"{share:4.0%}  {done}  {_rate_text(rate)}{left_text}"

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
        self._stream.flush()


def _rate_text(bytes_per_second: float) -> str:
    rate = bytes_per_second / 1e6
    return f"{rate:.{0 if rate >= 10 else 1}f} MB/s"
