"""How exact logits are, beside llama.cpp's on the same files; needs llama-cpp-python (the bench extra).

    python -m bench.exactness [--data FOLDER]

Two things are measured, each as rms(logits - exact) / std(exact):

files       the reference data's random Llamas (width 256, two layers, 32 tokens) against float64 arithmetic on the
            weights as stored; ours and llama.cpp's, a prompt on one thread, with a KV cache of F32 and of F16
families    the tiny models of tests/fixtures/architectures against what transformers computed in float64

Speed is no part of it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine, results
from realizar_lambda.formats import gguf_writer, open_model
from realizar_lambda.language_model import LanguageModel

CACHES = ("f32", "f16")
ENGINES = ("realizar", "llama_cpp")
_FIXTURES = machine.ROOT / "tests" / "fixtures" / "architectures"


def relative_error(found: object, exact: NDArray[np.float32]) -> float:
    """rms(found - exact) / std(exact), to four digits."""
    error = np.sqrt(np.square(np.asarray(found, np.float64) - exact).mean()) / exact.std()
    return float(f"{error:.4g}")


def ours(path: Path, ids: list[int], cache: str) -> NDArray[np.float32]:
    return np.asarray(LanguageModel.open(str(path), n_threads=1, cache_element=cache).logits(ids))


def theirs(path: Path, ids: list[int], cache: str) -> NDArray[np.float32]:
    import llama_cpp

    element = {"f32": 0, "f16": 1}[cache]
    model = llama_cpp.Llama(
        str(path), n_ctx=64, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False, type_k=element,
        type_v=element, flash_attn=False,
    )  # fmt: skip
    model.eval(ids)
    return np.array(model.scores[: len(ids)])


def files(data: Path) -> dict[str, dict[str, dict[str, float]]]:
    """The error of each engine on each stored file, with each cache."""
    folder = data / "models" / "random-256"
    found = {}
    for name, stored in sorted(json.loads((folder / "reference.json").read_text())["files"].items()):
        print(f"{name} ...", file=sys.stderr)
        exact = np.fromfile(folder / stored["f64_logits_file"], "<f4").reshape(stored["logits_shape"])
        found[name.removesuffix(".gguf")] = {
            engine: {cache: relative_error(run(folder / name, stored["prompt_ids"], cache), exact) for cache in CACHES}
            for engine, run in zip(ENGINES, (ours, theirs), strict=True)
        }
    return found


def families() -> dict[str, float]:
    """Our error on each family's fixture, as F32."""
    found = {}
    for fixture in sorted(_FIXTURES.glob("*.safetensors")):
        file = open_model(str(fixture))
        header = {key: json.loads(str(file.metadata[key])) for key in ("metadata", "token_ids")}
        weights = {name: np.frombuffer(t.data, {"F16": "<f2", "F32": "<f4"}[t.block.name]).reshape(t.shape)
                   for name, t in file.tensors.items()}  # fmt: skip
        exact = weights.pop("expected.logits")
        tensors = {name: (w.shape, "F32", w.astype("<f4").tobytes()) for name, w in weights.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            gguf_writer.write(path, header["metadata"], tensors)
            found[fixture.stem] = relative_error(ours(path, header["token_ids"], "f32"), exact)
    return found


def measure(data: Path) -> dict[str, object]:
    if find_spec("llama_cpp") is None:
        sys.exit("error: llama-cpp-python is not installed: pip install 'realizar-lambda[bench]'")
    if not data.is_dir():
        sys.exit(f"error: no reference data in {data}; give --data or set REALIZAR_TEST_DATA")
    stamp = machine.stamp(packages=("numpy", "numba", "llama_cpp_python"))
    return {**stamp, "files": files(data), "families": families()}


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Relative RMS errors of the stored files, ours and llama.cpp's."""
    result = read("exactness")
    if result is None:
        return ["Not measured yet: `python -m bench.exactness`."]
    lines = [
        "| file | F32 cache | llama.cpp | ratio | F16 cache | llama.cpp | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, engines in result["files"].items():
        cells = []
        for cache in CACHES:
            own, peer = (engines[engine][cache] for engine in ENGINES)
            cells += [f"{own:.2g}", f"{peer:.2g}", f"{own / peer:.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, *_caption(result)]


def family_table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Relative RMS errors of the families to transformers."""
    result = read("exactness")
    if result is None:
        return ["Not measured yet: `python -m bench.exactness`."]
    cells = [f"| {name} | {error:.1e} |" for name, error in result["families"].items()]
    return ["| fixture | error |", "|---|---:|", *cells, *_caption(result)]


def _caption(result: Mapping[str, Any]) -> list[str]:
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return ["", f"{listed}; commit {result['commit']}, {result['date']}."]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.exactness", description="Measure how exact logits are.")
    configured = os.environ.get("REALIZAR_TEST_DATA") or machine.ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(configured), help="folder of the reference data")
    results.write("exactness", measure(parser.parse_args().data))
