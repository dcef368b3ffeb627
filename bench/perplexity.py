"""What quantising costs: the perplexity of our own story model in every recipe, on stories it has not seen.

    python -m bench.perplexity --data FOLDER

FOLDER holds the texts that the model was trained on (see models/README.md); the last 5 % of the stories are held out.
The model is quantised again from the one that is checked in, whose own error is in every row.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import machine, results
from models.train import story_text
from realizar_lambda.formats import open_model
from realizar_lambda.generation.perplexity import perplexity
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.quantize.recipes import RECIPES
from realizar_lambda.quantize.rewrite import plan, rewrite
from realizar_lambda.quantize.source import from_gguf

MODEL = machine.ROOT / "models" / "stories.gguf"
AS_IT_IS = "as checked in"


def mean_surprise(path: Path, stories: Sequence[str]) -> tuple[float, int]:
    """(nats per token, tokens) over stories, each from its first token and cut where the context ends."""
    model = LanguageModel.open(str(path))
    total, n_scored = 0.0, 0
    for story in stories:
        found = perplexity(model, model.tokenizer.encode(story)[: model.config.context_length])
        total += found.mean_surprise * found.n_scored
        n_scored += found.n_scored
    return total / n_scored, n_scored


def measure(data: Path) -> dict[str, object]:
    stories = story_text.read(data).held_out
    source = from_gguf(open_model(str(MODEL)))
    rows: dict[str, object] = {}
    n_scored = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stories.gguf"
        for recipe in (AS_IT_IS, *RECIPES):
            print(f"{recipe} ...", file=sys.stderr, flush=True)
            if recipe != AS_IT_IS:
                rewrite(source, plan(source, recipe), str(path), recipe_name=recipe, n_threads=os.cpu_count() or 1)
            chosen = MODEL if recipe == AS_IT_IS else path
            surprise, n_scored = mean_surprise(chosen, stories)
            rows[recipe] = {"n_bytes": chosen.stat().st_size, "mean_surprise": round(surprise, 6)}
    return {
        "commit": machine.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.machine(),
        "versions": machine.versions(sys.executable, ("numpy", "numba")),
        "n_stories": len(stories),
        "n_tokens": n_scored,
        "rows": rows,
    }


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Size, perplexity, and how much more it is than that of the file that is checked in."""
    result = read("perplexity")
    if result is None:
        return ["Not measured yet: `python -m bench.perplexity`."]
    rows = result["rows"]
    least = rows[AS_IT_IS]["mean_surprise"]
    lines = ["| `models/stories.gguf` | MB | perplexity | more |", "|---|---:|---:|---:|"]
    for name, found in sorted(rows.items(), key=lambda item: -item[1]["n_bytes"]):
        value, more = math.exp(found["mean_surprise"]), math.expm1(found["mean_surprise"] - least)
        lines.append(f"| {name} | {found['n_bytes'] / 1e6:.2f} | {value:.3f} | {more:+.2%} |")
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"{result['n_stories']} held-out stories, {result['n_tokens']:,} tokens, each story from its first token to "
        "where the context ends.",
        "",
        f"{listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.perplexity", description="Measure what quantising costs.")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the texts")
    results.write("perplexity", measure(parser.parse_args(arguments).data))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
