"""Tokens per second of Llamas with random weights, beside llama.cpp on the same files, in turn.

    python -m bench.llm --peer-python PYTHON [--sizes 110M 1.1B] [--types Q4_K Q8_0 ...] [--threads 1 2]
                        [--rounds 5] [--isa x86_64_v3] [--models FOLDER]

For each model and number of threads every engine is a process that waits while the others are timed; a round times
each in turn, in an order that rotates; the first round is thrown away. llama.cpp runs as installed and with its
repacking of weights off: the stronger counts. Stored in bench/results/llm.json, or llm_<ISA>.json with --isa.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import random_llama, results
from bench.machine import ROOT, stamp

ENGINES = ("realizar", "llama_cpp", "llama_cpp_plain")
TITLES = {"realizar": "realizar-lambda", "llama_cpp": "llama.cpp", "llama_cpp_plain": "llama.cpp, no repacking"}
N_PREFILL, N_DECODE = 512, 128
DEFAULT_TYPES = ("Q4_K", "Q6_K", "Q8_0", "F16", "Q4_0", "Q5_K")


class Worker:
    """An engine's process."""

    def __init__(self, name: str, *, python: str, model: Path, n_threads: int, capacity: int, isa: str | None) -> None:
        environment = {**os.environ, **({"REALIZAR_ISA": isa} if isa and name == "realizar" else {})}
        self.name = name
        self._process = subprocess.Popen(
            [python, "-m", "bench.llm_worker", name, str(model), str(n_threads), str(capacity)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        self.describes = self._read()["ready"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def seconds(self, *command: object) -> float:
        """How long the engine took for a command of `llm_worker`."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, command)) + "\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def measure(workers: Sequence[Worker], rounds: int, depth: int) -> dict[str, dict[str, list[float]]]:
    """Tokens per second: {"prefill" | "decode": {engine: [per round]}}."""
    commands = {"prefill": (N_PREFILL,), "decode": (N_DECODE, depth)}
    if depth:
        del commands["prefill"]
    found: dict[str, dict[str, list[float]]] = {name: {worker.name: [] for worker in workers} for name in commands}
    for number in range(rounds + 1):
        for name, numbers in commands.items():
            for place in range(len(workers)):
                worker = workers[(place + number) % len(workers)]
                rate = numbers[0] / worker.seconds(name, *numbers)
                if number:
                    found[name][worker.name].append(rate)
    return {name: results.rounded_all(values) for name, values in found.items()}


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """{size: {type: {threads: measure}}}"""
    samples: dict[str, Any] = {}
    for size in options.sizes:
        for block in options.types:
            path = folder / f"llama-{size}-{block}.gguf"
            if not path.exists():
                progress(f"making {path.name}")
                random_llama.write(str(path), size, block, seed=1)
            for n_threads in options.threads:
                with ExitStack() as stack:
                    workers = []
                    for name in ENGINES:
                        python = sys.executable if name == "realizar" else options.peer_python
                        capacity = options.depth + max(N_PREFILL, N_DECODE) + 64
                        worker = Worker(
                            name, python=python, model=path, n_threads=n_threads, capacity=capacity, isa=options.isa
                        )
                        stack.callback(worker.close)
                        workers.append(worker)
                    measured = measure(workers, options.rounds, options.depth)
                samples.setdefault(size, {}).setdefault(block, {})[str(n_threads)] = measured
                progress(f"{size} {block}, {n_threads} threads: {line(measured)}")
    return samples


def summaries(samples: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of every list of samples, in the same nesting."""
    if all(isinstance(values, list) for values in samples.values()):
        return results.summaries(samples)
    return {name: summaries(found) for name, found in samples.items()}


def line(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The medians, for the terminal."""
    parts = []
    for name, found in measured.items():
        rates = ", ".join(f"{engine} {sorted(values)[len(values) // 2]:.1f}" for engine, values in found.items())
        parts.append(f"{name} {rates}")
    return "; ".join(parts)


def progress(text: str) -> None:
    print(f"[llm] {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.llm", description="Tokens per second beside llama.cpp's.")
    parser.add_argument("--peer-python", required=True, help="the interpreter that has llama_cpp")
    parser.add_argument("--sizes", nargs="+", default=["110M", "1.1B"], choices=sorted(random_llama.SIZES))
    parser.add_argument("--types", nargs="+", default=list(DEFAULT_TYPES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds (default %(default)s)")
    parser.add_argument("--depth", type=int, default=0, help="decode after so many tokens (default %(default)s)")
    parser.add_argument("--isa", help="force our kernel library")
    parser.add_argument("--models", type=Path, help="where the models are kept; a temporary folder by default")
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        samples = run(options, folder)
    name = "llm" + (f"_{options.isa}" if options.isa else "") + (f"_depth{options.depth}" if options.depth else "")
    found = stamp(pythons=(options.peer_python, sys.executable), packages=("llama-cpp-python",))
    result = {
        "benchmark": name,
        **found,
        "settings": {
            "rounds": options.rounds, "prefill": N_PREFILL, "decode": N_DECODE, "depth": options.depth,
            "isa": options.isa or "best", "unit": "tokens per second",
        },
        "samples": samples,
        "summary": summaries(samples),
    }  # fmt: skip
    path = results.write(name, result, folder=options.results)
    progress(f"stored {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
