"""Decoding with the weights in huge pages, ours and llama.cpp's, beside both as they come.

    python -m bench.huge_pages --peer-python PYTHON --models FOLDER [--sizes 110M 1.1B] [--threads 1 2] [--rounds 7]
                               [--isa x86_64_v3]

llama.cpp has no option for it: it does not map its file then, and glibc's malloc asks for huge pages
(GLIBC_TUNABLES). Every engine is a process that waits while the others are timed, in an order that rotates. The
first round is thrown away, and decides which of llama.cpp's settings goes on, its weights repacked or not. What was
measured before of other sizes and threads is kept. Stored in bench/results/huge_pages.json, with --isa in
huge_pages_<ISA>.json.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, random_llama, results
from bench.llm import Worker, summaries
from bench.machine import stamp
from bench.summary import ratio

TUNABLES = "glibc.malloc.hugetlb=1"
WAYS = {
    "realizar": ("realizar",),
    "realizar_huge": ("realizar_huge",),
    "llama_cpp": ("llama_cpp", "llama_cpp_plain"),
    "llama_cpp_huge": ("llama_cpp_huge", "llama_cpp_huge_plain"),
}
"""What is compared, and the engines of `llm_worker` of which the fastest stands for it."""
N_DECODE = 64


def start(name: str, path: Path, n_threads: int, peer_python: str) -> Worker:
    """A worker; those of llama.cpp on huge pages have malloc ask for such."""
    if name.startswith("llama_cpp_huge"):
        os.environ["GLIBC_TUNABLES"] = TUNABLES
    try:
        python = sys.executable if name.startswith("realizar") else peer_python
        return Worker(name, python=python, model=path, n_threads=n_threads, capacity=256, isa=None)
    finally:
        os.environ.pop("GLIBC_TUNABLES", None)


def measure(path: Path, n_threads: int, peer_python: str, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of each way, round by round."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with ExitStack() as stack:
        chosen: dict[str, Worker] = {}
        for way, names in WAYS.items():
            rates = {}
            for name in names:
                worker = start(name, path, n_threads, peer_python)
                stack.callback(worker.close)
                worker.seconds("decode", N_DECODE, 0)
                rates[worker] = N_DECODE / worker.seconds("decode", N_DECODE, 0)
            chosen[way] = max(rates, key=rates.__getitem__)
        ways = list(WAYS)
        for number in range(rounds):
            for place in range(len(ways)):
                way = ways[(place + number) % len(ways)]
                found[way].append(N_DECODE / chosen[way].seconds("decode", N_DECODE, 0))
    return results.rounded_all(found)


def sides(size: str, block: str, n_threads: int, peer: str) -> Callable[[Mapping[str, Any]], Any]:
    """For a target: our samples on huge pages, and those of a peer."""

    def of(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]] | None:
        found = result["samples"].get(size, {}).get(block, {}).get(str(n_threads))
        return None if found is None else (found["realizar_huge"], found[peer])

    return of


def table(read: Callable[[str], Mapping[str, Any] | None], name: str = "huge_pages") -> list[str]:
    """Tokens per second each way, and what ours on huge pages is to the others."""
    result = read(name)
    if result is None:
        return ["Not measured yet: `python -m bench.huge_pages`."]
    lines = [
        "| random Llama | threads | mapped, tokens/s | huge pages | llama.cpp | on huge pages | against llama.cpp "
        "| against it on huge pages |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for size, blocks in result["samples"].items():
        for block, by_threads in blocks.items():
            for n_threads, found in by_threads.items():
                cells = [f"{median(found[way]):.1f}" for way in WAYS]
                for peer in ("llama_cpp", "llama_cpp_huge"):
                    against = ratio(found["realizar_huge"], found[peer])
                    cells.append(f"{against.value:.2f} x [{against.low:.2f}, {against.high:.2f}]")
                lines.append(f"| {size} {block} | {n_threads} | {' | '.join(cells)} |")
    settings, machine = result["settings"], result["machine"]
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"Decode of {settings['decode']} tokens; median of {settings['rounds']} rounds in turn; llama.cpp at the "
        "stronger of its settings, weights repacked or not; on huge pages it does not map its file and glibc's malloc "
        f"asks for them (`{settings['tunables']}`).",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("huge_pages", "Decode from huge pages.", rounds=7)
    command_line.add_peer_python(parser, has="llama_cpp", is_required=True)
    command_line.add_llamas(parser, "Q4_K")
    command_line.add_threads(parser, 1, 2)
    command_line.add_models(parser, is_required=True)
    command_line.add_isa(parser)
    options = parser.parse_args(arguments)
    name = command_line.stored_name("huge_pages", options)
    known: Any = results.read(name, folder=options.results) or {}
    samples = known.get("samples", {})
    for size in options.sizes:
        for block in options.types:
            path = options.models / f"llama-{size}-{block}.gguf"
            if not path.exists():
                random_llama.write(str(path), size, block, seed=1)
            for n_threads in options.threads:
                found = measure(path, n_threads, options.peer_python, options.rounds)
                samples.setdefault(size, {}).setdefault(block, {})[str(n_threads)] = found
                rates = ", ".join(f"{way} {median(values):.1f}" for way, values in found.items())
                print(f"[huge_pages] {size} {block}, {n_threads} threads: {rates}", file=sys.stderr)
    result = {
        "benchmark": name,
        **stamp(pythons=(options.peer_python, sys.executable), packages=("llama-cpp-python",)),
        "settings": {
            "rounds": options.rounds, "decode": N_DECODE, "tunables": TUNABLES, "unit": "tokens per second",
        },
        "samples": samples,
        "summary": summaries(samples),
    }  # fmt: skip
    print(f"[huge_pages] stored {results.write(name, result, folder=options.results).name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
