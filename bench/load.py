"""From a model's file to its first token in a fresh process, beside llama.cpp; and the memory that is neither weights,
nor keys and values, nor working memory.

    python -m bench.load --peer-python PYTHON --models FOLDER [--size 1.1B] [--type Q4_K] [--threads 2] [--rounds 11]

Each sample is a process of its own, in turn; the file's pages are in the page cache. The clock runs from behind the
imports to the first token's id, and another from before them. llama.cpp is called through llama-cpp-python's bindings
of its C functions, with its weights repacked or not: the faster counts. Both read the same prompt and take the most
probable token. Stored in bench/results/load.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, random_llama, results
from bench.llm_worker import token_ids
from bench.machine import ROOT, stamp
from bench.summary import ratio, summarise

TITLES = {"realizar": "realizar-lambda", "llama_cpp": "llama.cpp", "llama_cpp_plain": "llama.cpp, no repacking"}
N_PROMPT = 16
CONTEXT = 512
LIMIT_MIB = 30
"""What is promised of the heap."""


def resident_bytes(address: int, n_bytes: int) -> int:
    """How much of a stretch of memory is resident."""
    import ctypes
    import mmap

    begin = address // mmap.PAGESIZE * mmap.PAGESIZE
    n_pages = -(-(address + n_bytes - begin) // mmap.PAGESIZE)
    found = (ctypes.c_ubyte * n_pages)()
    if ctypes.CDLL(None).mincore(ctypes.c_void_p(begin), ctypes.c_size_t(n_pages * mmap.PAGESIZE), found) != 0:
        raise OSError("mincore failed")
    return sum(flag & 1 for flag in found) * mmap.PAGESIZE


def status_bytes(name: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status has no {name}")


def ours(path: str, n_threads: int) -> dict[str, Any]:
    """One sample: milliseconds with and without imports, the token, MiB of heap and of the whole resident set."""
    started = time.perf_counter()
    from realizar_lambda import native
    from realizar_lambda.language_model import LanguageModel

    imported = time.perf_counter()
    model = LanguageModel.open(path, n_threads=n_threads)
    done = model.generate(token_ids(N_PROMPT), max_tokens=1, temperature=0, ignore_eos=True)
    ended = time.perf_counter()
    ((_, context),) = model.contexts._idle
    held = resident_bytes(native.address(context.cache), context.n_cache_bytes)
    held += resident_bytes(native.address(context._session.bytes), context.n_arena_bytes)
    return {
        "load_ms": (ended - imported) * 1e3, "with_imports_ms": (ended - started) * 1e3, "token": done.token_ids[-1],
        "heap_mib": (status_bytes("RssAnon") - held) / 2**20, "resident_mib": status_bytes("VmRSS") / 2**20,
    }  # fmt: skip


def theirs(path: str, n_threads: int, *, repacks: bool) -> dict[str, Any]:
    """The same of llama.cpp, whose allocations are its own: no heap is told."""
    started = time.perf_counter()
    import llama_cpp as api

    from bench.llm_worker import LlamaCpp

    imported = time.perf_counter()
    engine = LlamaCpp(path, n_threads, CONTEXT, repacks=repacks)
    engine.evaluate(token_ids(N_PROMPT))
    logits = api.llama_get_logits_ith(engine.context, -1)
    n_vocab = api.llama_vocab_n_tokens(api.llama_model_get_vocab(engine.model))
    token = max(range(n_vocab), key=logits[:n_vocab].__getitem__)
    ended = time.perf_counter()
    return {
        "load_ms": (ended - imported) * 1e3, "with_imports_ms": (ended - started) * 1e3, "token": token,
        "resident_mib": status_bytes("VmRSS") / 2**20,
    }  # fmt: skip


SAMPLES: Mapping[str, Callable[[str, int], dict[str, Any]]] = {
    "realizar": ours,
    "llama_cpp": lambda path, n: theirs(path, n, repacks=True),
    "llama_cpp_plain": lambda path, n: theirs(path, n, repacks=False),
}


def measure(path: Path, n_threads: int, peer_python: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """{measure: {engine: samples}}; a first round warms the page cache and is thrown away."""
    found: dict[str, dict[str, list[float]]] = {}
    names = list(SAMPLES)
    for number in range(rounds + 1):
        tokens = {}
        for place in range(len(names)):
            name = names[(place + number) % len(names)]
            python = sys.executable if name == "realizar" else peer_python
            command = [python, "-m", "bench.load", "--worker", name, "--threads", str(n_threads), str(path)]
            sample = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
            tokens[name] = sample.pop("token")
            if number:
                for measured, value in sample.items():
                    found.setdefault(measured, {}).setdefault(name, []).append(value)
        if len(set(tokens.values())) != 1:
            print(f"[load] the engines do not take the same token: {tokens}", file=sys.stderr)
    return {measured: results.rounded_all(samples) for measured, samples in found.items()}


def best_peer(result: Mapping[str, Any]) -> str:
    """The faster setting of llama.cpp."""
    times = result["samples"]["load_ms"]
    peers = [name for name in TITLES if name != "realizar"]
    return min(peers, key=lambda name: median(times[name]))


def load_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: our time to the first token beside llama.cpp's, without imports."""
    times = result["samples"]["load_ms"]
    return times["realizar"], times[best_peer(result)]


def heap_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: our heap beside its limit."""
    heap = result["samples"]["heap_mib"]["realizar"]
    return heap, [float(LIMIT_MIB)] * len(heap)


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Time to the first token, heap and resident set."""
    result = read("load")
    if result is None:
        return ["Not measured yet: `python -m bench.load`."]
    samples, settings, machine = result["samples"], result["settings"], result["machine"]
    lines = [
        "| engine | file to first token, ms | against ours | with imports, ms | heap, MiB | resident, MiB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, title in TITLES.items():
        times = samples["load_ms"][name]
        middle, against = summarise(times).median, ratio(times, samples["load_ms"]["realizar"])
        heap = samples["heap_mib"].get(name)
        cells = [
            title, f"{middle.value:.0f} [{middle.low:.0f}, {middle.high:.0f}]",
            "1" if name == "realizar" else f"{against.value:.2f} x [{against.low:.2f}, {against.high:.2f}]",
            f"{median(samples['with_imports_ms'][name]):.0f}", f"{median(heap):.1f}" if heap else "",
            f"{median(samples['resident_mib'][name]):.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"A random Llama of {settings['size']} in {settings['block']}, a prompt of {settings['prompt']} tokens, "
        f"{settings['threads']} threads; median [95 % interval] of {settings['rounds']} fresh processes each, in turn, "
        "the file in the page cache. The heap is what is resident and neither mapped, nor the KV cache, nor the arena.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("load", "From a file to its first token.", rounds=11)
    command_line.add_peer_python(parser, has="llama_cpp")
    command_line.add_models(parser)
    parser.add_argument("--size", choices=sorted(random_llama.SIZES), default="1.1B")
    parser.add_argument("--type", default="Q4_K")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", choices=SAMPLES, help=argparse.SUPPRESS)
    parser.add_argument("path", nargs="?", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(SAMPLES[options.worker](options.path, options.threads)))
        return 0
    path = (options.models or Path()) / f"llama-{options.size}-{options.type}.gguf"
    if not path.exists():
        random_llama.write(str(path), options.size, options.type, seed=1)
    samples = measure(path, options.threads, options.peer_python, options.rounds)
    result = {
        "benchmark": "load",
        **stamp(pythons=(options.peer_python, sys.executable), packages=("llama-cpp-python",)),
        "settings": {
            "size": options.size, "block": options.type, "prompt": N_PROMPT, "threads": options.threads,
            "rounds": options.rounds,
        },
        "samples": samples,
        "summary": {name: results.summaries(found) for name, found in samples.items()},
    }  # fmt: skip
    print(f"[load] stored {results.write('load', result, folder=options.results).name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
