"""Tokens per second of Llamas with random weights, beside llama.cpp on the same files, in turn.

    python -m bench.llm --peer-python PYTHON [--sizes 110M 1.1B] [--types Q4_K Q8_0 ...] [--threads 1 2]
                        [--rounds 5] [--depth N] [--isa x86_64_v3] [--models FOLDER]

For each model and number of threads every engine is a process that waits while the others are timed; a round times
each in turn, in an order that rotates. The first round is thrown away, but that settings of llama.cpp which it shows
to be weaker by a tenth are left out from there on: the strongest counts. Those are its repacking of weights on or
off, and after so many tokens as --depth says its flash attention too. Each round also reads the file's pages with as
many threads: what memory gives.

Stored in bench/results/llm.json, llm_<ISA>.json with --isa (give a llama.cpp built for that ISA), with --depth in
..._depth<N>.json; model by model, each with the commit and machine of its own, so that it can be done in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, random_llama, results
from bench.machine import ROOT, stamp
from bench.summary import Interval, ratio
from realizar_lambda.formats import open_model

ENGINES = ("realizar", "llama_cpp", "llama_cpp_plain")
DEEP_ENGINES = (*ENGINES, "llama_cpp_no_flash")
N_PREFILL, N_DECODE = 512, 128
DEFAULT_TYPES = ("Q4_K", "Q6_K", "Q8_0", "F16", "Q4_0", "Q5_K")
PROMISED_TYPES = DEFAULT_TYPES[:4]
MEMORY = "memory"
"""Stands where a contender does: gigabytes per second that the file's pages are read with."""
WEAKER = 0.9


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


def measure(workers: Sequence[Worker], rounds: int, depth: int, n_bytes: int) -> dict[str, dict[str, list[float]]]:
    """Tokens per second, {"prefill" | "decode": {engine: [per round]}}, and GB/s, {"read": {MEMORY: [per round]}}."""
    commands = {"prefill": (N_PREFILL,), "decode": (N_DECODE, depth)}
    if depth:
        del commands["prefill"]
    running = {name: list(workers) for name in commands}
    found: dict[str, dict[str, list[float]]] = {name: {worker.name: [] for worker in workers} for name in commands}
    found["read"] = {MEMORY: []}
    ours = workers[0]
    for number in range(rounds + 1):
        for name, numbers in commands.items():
            turn = running[name]
            rates = {}
            for place in range(len(turn)):
                worker = turn[(place + number) % len(turn)]
                rates[worker] = numbers[0] / worker.seconds(name, *numbers)
            if number:
                for worker, rate in rates.items():
                    found[name][worker.name].append(rate)
                continue
            best = max(rates[worker] for worker in turn if worker is not ours)
            running[name] = [worker for worker in turn if worker is ours or rates[worker] >= WEAKER * best]
        read = n_bytes / 1e9 / ours.seconds("read")
        if number:
            found["read"][MEMORY].append(read)
    return {name: results.rounded_all({w: rates for w, rates in by.items() if rates}) for name, by in found.items()}


def weight_bytes(path: Path) -> int:
    """The bytes of weights that a token needs: all, but of an embedding table of its own a row."""
    tensors = open_model(path).tensors
    own_table = "output.weight" in tensors
    return sum(len(t.data) for name, t in tensors.items() if not (own_table and name == "token_embd.weight"))


def run(options: argparse.Namespace, folder: Path, store: Callable[[str, str, str, dict[str, Any]], None]) -> None:
    """Measure each model with each number of threads, and store what was found as soon as it is."""
    for size in options.sizes:
        for block in options.types:
            path = folder / f"llama-{size}-{block}.gguf"
            if not path.exists():
                progress(f"making {path.name}")
                random_llama.write(str(path), size, block, seed=1)
            for n_threads in options.threads:
                with ExitStack() as stack:
                    workers = []
                    for name in DEEP_ENGINES if options.depth else ENGINES:
                        python = sys.executable if name == "realizar" else options.peer_python
                        capacity = options.depth + max(N_PREFILL, N_DECODE) + 64
                        worker = Worker(
                            name, python=python, model=path, n_threads=n_threads, capacity=capacity, isa=options.isa
                        )
                        stack.callback(worker.close)
                        workers.append(worker)
                    measured = measure(workers, options.rounds, options.depth, path.stat().st_size)
                progress(f"{size} {block}, {n_threads} threads: {line(measured)}")
                store(size, block, str(n_threads), measured)


def strongest(found: Mapping[str, Sequence[float]]) -> str:
    """The setting of llama.cpp that counts."""
    return max((engine for engine in found if engine != "realizar"), key=lambda engine: median(found[engine]))


def cells(result: Mapping[str, Any], work: str) -> list[tuple[Sequence[float], Sequence[float]]]:
    """Our samples and the strongest peer's for each size, promised type and number of threads."""
    return [
        (by_work[work]["realizar"], by_work[work][strongest(by_work[work])])
        for blocks in result["samples"].values()
        for block, by_threads in blocks.items()
        if block in PROMISED_TYPES
        for by_work in by_threads.values()
        if work in by_work
    ]


def least_sides(work: str) -> Callable[[Mapping[str, Any]], tuple[Sequence[float], Sequence[float]] | None]:
    """For a target: the sides of the lowest ratio to llama.cpp among all that was measured of `work`."""
    return lambda result: min(cells(result, work), key=lambda sides: ratio(*sides).value, default=None)


def of_memory(result: Mapping[str, Any], size: str, block: str, n_threads: str) -> Interval | None:
    """The part of what memory gives that decoding takes in; None where reading was not measured."""
    sides = _memory_sides(result, size, block, n_threads)
    return None if sides is None else ratio(*sides)


def _memory_sides(
    result: Mapping[str, Any], size: str, block: str, n_threads: str
) -> tuple[Sequence[float], Sequence[float]] | None:
    found, gigabytes = result["samples"][size][block][n_threads], result.get("weight_gb", {}).get(f"{size} {block}")
    if "read" not in found or gigabytes is None:
        return None
    return [rate * gigabytes for rate in found["decode"]["realizar"]], found["read"][MEMORY]


def least_memory_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]] | None:
    """For a target: decoding the 1.1B models against reading their pages, where it is least."""
    sides = [
        _memory_sides(result, "1.1B", block, n_threads)
        for block, by_threads in result["samples"].get("1.1B", {}).items()
        if block in PROMISED_TYPES
        for n_threads in by_threads
    ]
    return min((pair for pair in sides if pair), key=lambda pair: ratio(*pair).value, default=None)


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
    parser = command_line.parser("llm", "Tokens per second beside llama.cpp's.", rounds=5)
    command_line.add_peer_python(parser, has="llama_cpp", is_required=True)
    command_line.add_llamas(parser, *DEFAULT_TYPES)
    command_line.add_threads(parser, 1, 2)
    command_line.add_models(parser)
    parser.add_argument("--depth", type=int, default=0, help="decode after so many tokens (default %(default)s)")
    command_line.add_isa(parser)
    options = parser.parse_args(arguments)
    name = command_line.stored_name("llm", options) + (f"_depth{options.depth}" if options.depth else "")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.models or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        known: Any = results.read(name, folder=options.results) or {}
        parts, samples, gigabytes = (known.get(key, {}) for key in ("parts", "samples", "weight_gb"))
        found = stamp(pythons=(options.peer_python, sys.executable), packages=("llama-cpp-python",))

        def store(size: str, block: str, n_threads: str, measured: dict[str, Any]) -> None:
            samples.setdefault(size, {}).setdefault(block, {})[n_threads] = measured
            parts[f"{size} {block} {n_threads}"] = {key: found[key] for key in ("date", "commit", "machine")}
            gigabytes[f"{size} {block}"] = round(weight_bytes(folder / f"llama-{size}-{block}.gguf") / 1e9, 6)
            result = {
                "benchmark": name,
                **found,
                "settings": {
                    "rounds": options.rounds, "prefill": N_PREFILL, "decode": N_DECODE, "depth": options.depth,
                    "isa": options.isa or "best", "unit": "tokens per second",
                },
                "parts": parts,
                "weight_gb": gigabytes,
                "samples": samples,
                "summary": summaries(samples),
            }  # fmt: skip
            results.write(name, result, folder=options.results)

        run(options, folder, store)
    progress(f"stored {name}.json")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
