"""Prompt lookup on a text that repeats what it was given, and on one that does not.

    python -m bench.prompt_lookup --models FOLDER [--threads 1 2] [--rounds 7] [--isa x86_64_v3]

`repeated` is a prompt whose continuation is largely in it already, as a summary's, a correction's or a program's
is: a trained model gets a story and its beginning again, a Llama of random weights a sequence that it falls into by
itself (greedy decoding from any prompt ends in a cycle; the cycle is the prompt). `new` is the beginning of a story
alone. Every model is timed with and without prompt lookup, in turn, in one process, and must give the same ids each
time. Stored in bench/results/prompt_lookup.json, with --isa in prompt_lookup_<ISA>.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, random_llama, results
from bench.machine import ROOT, stamp
from bench.summary import ratio
from realizar_lambda.language_model import LanguageModel

STORY = (
    "Once upon a time, there was a little girl named Lily. She had a red ball. One day, she went to the park with her "
    "mom and played with the ball. Then a big dog came and took the ball. Lily was sad. Her mom said they could ask "
    "the dog. The dog gave the ball back, and they all played together. "
)
N_TOKENS = 96
N_WARM_UP = 160
WAYS = {"plain": False, "lookup": True}


def prompts(model: LanguageModel) -> dict[str, list[int]]:
    """The prompts of a model by name."""
    if "tokenizer.ggml.tokens" in model.model_file.metadata:
        ids = model.tokenizer.encode(STORY)
        return {"repeated": ids + ids[: len(ids) // 3], "new": model.tokenizer.encode(STORY[:16])}
    start = [100 + i * 7919 % 31_000 for i in range(16)]
    cycle = model.generate(start, max_tokens=N_WARM_UP, temperature=0, ignore_eos=True).token_ids
    return {"repeated": cycle, "new": start}


def once(model: LanguageModel, prompt: Sequence[int], *, prompt_lookup: bool) -> tuple[list[int], float]:
    """The ids of one generation, and its tokens per second."""
    stream = model.stream(
        prompt, max_tokens=N_TOKENS, temperature=0, ignore_eos=True, share_key=None, prompt_lookup=prompt_lookup
    )
    next(stream)
    started = time.perf_counter()
    for _ in stream:
        pass
    return stream.generation.token_ids, (N_TOKENS - 1) / (time.perf_counter() - started)


def measure(path: Path, n_threads: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """{prompt: {way: tokens per second of each round}}"""
    model = LanguageModel.open(str(path), n_threads=n_threads)
    found: dict[str, dict[str, list[float]]] = {}
    for name, prompt in prompts(model).items():
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        answers = set()
        for number in range(rounds + 1):
            for way in sorted(WAYS, reverse=bool(number % 2)):
                ids, rate = once(model, prompt, prompt_lookup=WAYS[way])
                answers.add(tuple(ids))
                if number:
                    rates[way].append(rate)
        if len(answers) != 1:
            sys.exit(f"error: {path.name}, {name}: prompt lookup gives other ids")
        found[name] = results.rounded_all(rates)
    return found


def sides(model: str, n_threads: int) -> Callable[[Mapping[str, Any]], tuple[Sequence[float], Sequence[float]]]:
    """For a target: with prompt lookup and without, on the text that repeats itself."""

    def of(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
        found = result["samples"][model][str(n_threads)]["repeated"]
        return found["lookup"], found["plain"]

    return of


def table(read: Callable[[str], Mapping[str, Any] | None], name: str = "prompt_lookup") -> list[str]:
    """Tokens per second with prompt lookup and without."""
    result = read(name)
    if result is None:
        return ["Not measured yet: `python -m bench.prompt_lookup`."]
    lines = ["| model | threads | text | plain, tokens/s | prompt lookup | faster |", "|---|---:|---|---:|---:|---:|"]
    for model, by_threads in result["samples"].items():
        for n_threads, texts in by_threads.items():
            for text, found in texts.items():
                against = ratio(found["lookup"], found["plain"])
                rates = " | ".join(f"{median(found[way]):.0f}" for way in WAYS)
                span = f"{against.value:.2f} x [{against.low:.2f}, {against.high:.2f}]"
                lines.append(f"| {model} | {n_threads} | {text} | {rates} | {span} |")
    settings, machine = result["settings"], result["machine"]
    return [
        *lines,
        "",
        f"{settings['tokens']} tokens, greedy, in turn; median of {settings['rounds']} rounds [95 % interval]; the ids "
        "are the same with and without.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; python {result['versions']['python']}; commit "
        f"{result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("prompt_lookup", "Measure prompt lookup.", rounds=7)
    command_line.add_llamas(parser, "Q4_K")
    command_line.add_threads(parser, 1, 2)
    command_line.add_models(parser, is_required=True)
    command_line.add_isa(parser)
    options = parser.parse_args(arguments)
    name = command_line.stored_name("prompt_lookup", options)
    paths = {"stories-q4_k": ROOT / "models" / "stories-q4_k.gguf"}
    for size in options.sizes:
        for block in options.types:
            path = paths[f"random {size} {block}"] = options.models / f"llama-{size}-{block}.gguf"
            if not path.exists():
                random_llama.write(str(path), size, block, seed=1)
    samples: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
    for model, path in paths.items():
        for n_threads in options.threads:
            found = samples.setdefault(model, {})[str(n_threads)] = measure(path, n_threads, options.rounds)
            gains = ", ".join(f"{text} {ratio(way['lookup'], way['plain']).value:.2f} x" for text, way in found.items())
            print(f"[prompt_lookup] {model}, {n_threads} threads: {gains}", file=sys.stderr)
    result = {
        "benchmark": name,
        **stamp(),
        "settings": {"tokens": N_TOKENS, "rounds": options.rounds, "unit": "tokens per second"},
        "samples": samples,
        "summary": {
            model: {
                n_threads: {text: results.summaries(ways) for text, ways in texts.items()}
                for n_threads, texts in by_threads.items()
            }
            for model, by_threads in samples.items()
        },
    }
    print(f"[prompt_lookup] stored {results.write(name, result, folder=options.results).name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
