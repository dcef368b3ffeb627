"""What a token costs besides the kernels, on a small model, beside llama-cpp-python's own generation loop.

    python -m bench.small_models --peer-python PYTHON [--threads 1 2] [--rounds 15] [--isa x86_64_v3]

`models/stories-q4_k.gguf` goes on greedily from the same prompt: ours through `llm.stream`, which also gives the
text, theirs through `Llama.generate`, which gives ids. Each is a process that waits while the other is timed. The
overhead is ours alone: the time per token less that inside the library's calls (a forward pass, a draw), which a
clock around them takes; reading it counts as overhead. Stored in bench/results/small_models.json, with --isa in
small_models_<ISA>.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

from bench import command_line, results
from bench.machine import ROOT, stamp
from bench.summary import ratio, summarise

MODEL = ROOT / "models" / "stories-q4_k.gguf"
PROMPT = "Once upon a time"
N_TOKENS = 200
CONTEXT = 256
LIMIT_US = 30
"""What is promised of the overhead of a token."""


def ours(n_threads: int) -> Callable[[], dict[str, Any]]:
    """A function that generates once: ids, tokens per second, overhead in microseconds."""
    from realizar_lambda import native
    from realizar_lambda.language_model import LanguageModel

    model = LanguageModel.open(str(MODEL), n_threads=n_threads)
    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal spent
            started = time.perf_counter()
            answer = function(*arguments)
            spent += time.perf_counter() - started
            return answer

        return call

    plain = {name: getattr(native.library(), name) for name in ("run", "sample")}
    clocked = {name: timed(function) for name, function in plain.items()}

    def generate(functions: Mapping[str, Any]) -> tuple[list[int], float]:
        nonlocal spent
        for name, function in functions.items():
            setattr(native.library(), name, function)
        stream = model.stream(PROMPT, max_tokens=N_TOKENS, temperature=0, ignore_eos=True, share_key=None)
        next(stream)
        spent = 0.0
        started = time.perf_counter()
        for _ in stream:
            pass
        return stream.generation.token_ids, time.perf_counter() - started

    def once() -> dict[str, Any]:
        ids, seconds = generate(plain)
        _, clocked_seconds = generate(clocked)
        n = N_TOKENS - 1
        return {"ids": ids, "rate": n / seconds, "overhead_us": (clocked_seconds - spent) / n * 1e6}

    return once


def theirs(n_threads: int) -> Callable[[], dict[str, Any]]:
    """The same with `Llama.generate`, whose loop does not end at a stop token by itself."""
    from llama_cpp import Llama

    model = Llama(
        str(MODEL), n_ctx=CONTEXT, n_threads=n_threads, n_threads_batch=n_threads, verbose=False, n_gpu_layers=0
    )
    prompt = model.tokenize(PROMPT.encode())

    def once() -> dict[str, Any]:
        ids = list(prompt)
        loop = model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0, reset=True)
        ids.append(next(loop))
        started = time.perf_counter()
        for token in loop:
            ids.append(token)
            if len(ids) == len(prompt) + N_TOKENS:
                break
        return {"ids": ids, "rate": (N_TOKENS - 1) / (time.perf_counter() - started)}

    return once


ENGINES = {"realizar": ours, "llama_cpp_python": theirs}


def work(name: str, n_threads: int) -> None:
    """A worker's life: an answer in JSON for every line that comes."""
    once = ENGINES[name](n_threads)
    for _ in sys.stdin:
        print(json.dumps(once()), flush=True)


class Worker:
    """An engine's process."""

    def __init__(self, name: str, python: str, n_threads: int) -> None:
        command = [python, "-m", "bench.small_models", "--worker", name, "--threads", str(n_threads)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def once(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def measure(n_threads: int, peer_python: str, rounds: int) -> dict[str, list[float]]:
    """Tokens per second of both, and our overhead, round by round."""
    found: dict[str, list[float]] = {"realizar": [], "llama_cpp_python": [], "overhead_us": []}
    with ExitStack() as stack:
        workers = {
            "realizar": Worker("realizar", sys.executable, n_threads),
            "llama_cpp_python": Worker("llama_cpp_python", peer_python, n_threads),
        }
        for worker in workers.values():
            stack.callback(worker.close)
        n_same = 0
        for number in range(rounds + 1):
            answers = {name: workers[name].once() for name in sorted(workers, reverse=bool(number % 2))}
            if number:
                for name, answer in answers.items():
                    found[name].append(answer["rate"])
                found["overhead_us"].append(answers["realizar"]["overhead_us"])
            pairs = zip(answers["realizar"]["ids"], answers["llama_cpp_python"]["ids"], strict=True)
            n_same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(answers["realizar"]["ids"]))
        print(f"[small_models] {n_threads} threads: the first {n_same} ids are the same", file=sys.stderr)
    return results.rounded_all(found)


def speed_sides(n_threads: int) -> Callable[[Mapping[str, Any]], tuple[Sequence[float], Sequence[float]]]:
    """For a target: our rate beside theirs."""

    def sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
        found = result["samples"][str(n_threads)]
        return found["realizar"], found["llama_cpp_python"]

    return sides


def overhead_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: our overhead with one thread beside its limit."""
    overhead = result["samples"]["1"]["overhead_us"]
    return overhead, [float(LIMIT_US)] * len(overhead)


def table(read: Callable[[str], Mapping[str, Any] | None], name: str = "small_models") -> list[str]:
    """Tokens per second of both, and what a token of ours costs besides the kernels."""
    result = read(name)
    if result is None:
        return ["Not measured yet: `python -m bench.small_models`."]
    lines = [
        "| threads | tokens/s | llama-cpp-python | faster | a token, us | outside the native calls, us |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for n_threads, found in result["samples"].items():
        against = ratio(found["realizar"], found["llama_cpp_python"])
        rate = median(found["realizar"])
        overhead = summarise(found["overhead_us"]).median
        cells = [
            n_threads, f"{rate:.0f}", f"{median(found['llama_cpp_python']):.0f}",
            f"{against.value:.2f} x [{against.low:.2f}, {against.high:.2f}]", f"{1e6 / rate:.0f}",
            f"{overhead.value:.1f} [{overhead.low:.1f}, {overhead.high:.1f}]",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    settings, machine = result["settings"], result["machine"]
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"`{settings['model']}`, {settings['tokens']} tokens, greedy; median of {settings['rounds']} rounds in turn; "
        "ours from `llm.stream`, with the text, theirs from `Llama.generate`, ids alone.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("small_models", "What a token costs around it.", rounds=15)
    command_line.add_peer_python(parser, has="llama_cpp")
    command_line.add_threads(parser, 1, 2)
    command_line.add_isa(parser)
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    name = command_line.stored_name("small_models", options)
    if options.worker:
        work(options.worker, options.threads[0])
        return 0
    samples = {str(n): measure(n, options.peer_python, options.rounds) for n in options.threads}
    result = {
        "benchmark": name,
        **stamp(pythons=(options.peer_python, sys.executable), packages=("llama-cpp-python",)),
        "settings": {
            "model": MODEL.name, "tokens": N_TOKENS, "rounds": options.rounds, "unit": "tokens per second",
        },
        "samples": samples,
        "summary": {n_threads: results.summaries(found) for n_threads, found in samples.items()},
    }  # fmt: skip
    print(f"[small_models] stored {results.write(name, result, folder=options.results).name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
