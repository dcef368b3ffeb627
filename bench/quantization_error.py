"""How close our encoders come, beside GGML's own on the same numbers; needs llama-cpp-python (the bench extra).

    python -m bench.quantization_error

The error is rms(decoded - weights) / rms(weights), plain and weighed by what GGML's reference quantiser minimises:
rms + |x| over 32 elements for types with offsets, x² for those without. The 32-element types have the same bytes
as GGML's and are not listed. Speed is no part of it.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine, results
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.formats import open_model
from realizar_lambda.quantize import decode, encode

F32 = NDArray[np.float32]

TYPES = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
_WITH_OFFSETS = ("Q2_K", "Q4_K", "Q5_K")
_ROWS = 512


def distributions() -> dict[str, F32]:
    """Names and weights (n, 256): a trained matrix of our own, and six that are drawn."""
    rng = np.random.default_rng(1)
    shape = (_ROWS, 256)
    drawn = {
        "gaussian": rng.standard_normal(shape),
        "heavy tails (t, 3)": rng.standard_t(3, shape),
        "off centre": rng.standard_normal(shape) + 1,
        "uniform": rng.uniform(-1, 1, shape),
        "nine in ten zero": rng.standard_normal(shape) * (rng.uniform(size=shape) < 0.1),
        "rows of different size": rng.standard_normal(shape) * np.exp(rng.standard_normal((_ROWS, 1))),
    }
    tensor = open_model(machine.ROOT / "models" / "mnist_mlp.apr").tensors["layers.0.weight"]
    trained = decode(tensor.block.name, tensor.data).reshape(tensor.shape)[:, :768].reshape(-1, 256)
    return {"mnist_mlp.apr, layer 0": trained} | {name: rows.astype(np.float32) for name, rows in drawn.items()}


def relative_errors(type_name: str, values: F32, rows: F32) -> tuple[float, float]:
    """The plain and the weighed error of `values`."""
    squared, by_32 = (values - rows) ** 2, rows.reshape(-1, 32)
    w = np.abs(by_32) + np.sqrt((by_32**2).mean(axis=1, keepdims=True)) if type_name in _WITH_OFFSETS else by_32**2
    w = w.reshape(rows.shape)
    plain = np.sqrt(squared.mean() / (rows**2).mean())
    return float(plain), float(np.sqrt((w * squared).sum() / (w * rows**2).sum()))


def ggml() -> Callable[[str, F32], F32]:
    """What GGML's quantiser makes of (n, 256) values of a type."""
    found = find_spec("llama_cpp")
    if found is None or found.origin is None:
        sys.exit("error: llama-cpp-python is not installed: pip install 'realizar-lambda[bench]'")
    library = ctypes.CDLL(str(Path(found.origin).parent / "lib" / "libggml-base.so"))
    run = library.ggml_quantize_chunk
    run.restype = ctypes.c_size_t
    run.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *(ctypes.c_int64,) * 3, ctypes.c_void_p]

    def quantised(type_name: str, rows: F32) -> F32:
        block = BLOCKS[type_name]
        library.ggml_quantize_init(block.id)
        rows = np.ascontiguousarray(rows)
        data = np.zeros(rows.size // block.n_elements * block.n_bytes, np.uint8)
        run(block.id, rows.ctypes.data, data.ctypes.data, 0, *rows.shape, None)
        return decode(type_name, data.data).reshape(rows.shape)

    return quantised


def measure() -> dict[str, object]:
    theirs = ggml()
    errors: dict[str, object] = {}
    for label, rows in distributions().items():
        print(f"{label} ...", file=sys.stderr)
        errors[label] = {
            name: {
                "ours": relative_errors(name, decode(name, encode(name, rows)).reshape(rows.shape), rows),
                "ggml": relative_errors(name, theirs(name, rows), rows),
            }
            for name in TYPES
        }
    return {
        "commit": machine.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.machine(),
        "versions": machine.versions(sys.executable, ("numpy", "numba", "llama_cpp_python")),
        "errors": errors,
    }


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Our errors against GGML's, plain and weighed, in percent of it."""
    result = read("quantization_error")
    if result is None:
        return ["Not measured yet: `python -m bench.quantization_error`."]
    lines = [f"| weights | {' | '.join(TYPES)} |", f"|---|{'---:|' * len(TYPES)}"]
    for label, found in result["errors"].items():
        cells = []
        for name in TYPES:
            plain, weighed = (a / b - 1 for a, b in zip(found[name]["ours"], found[name]["ggml"], strict=True))
            cells.append(f"{found[name]['ours'][0]:.2%} ({plain:+.1%}, {weighed:+.1%})")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        "Relative error, and in brackets how far it and the weighed error are from GGML's quantiser's: less is closer.",
        "",
        f"{listed}; commit {result['commit']}, {result['date']}.",
    ]


if __name__ == "__main__":
    results.write("quantization_error", measure())
