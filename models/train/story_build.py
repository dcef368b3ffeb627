"""The story model's files from a finished training: `python -m models.train.story_build --data FOLDER --work FOLDER`.

Writes `stories.gguf` (Q8_0) and `stories-q4_k.gguf` (Q4_K_M), their manifest entries, the loss curve and its plot,
and the reference answers that the tests compare the engine with.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from . import manifest, story_files, story_measure, story_plot, story_text
from .stories import RECIPE, story_rows, vocabulary

FILES = {"stories": "Q8_0", "stories-q4_k": "Q4_K_M"}
EXCERPT_STORIES = 2
"""How many of the held-out stories the tests measure perplexity on."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.train.story_build", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder that has corpora/")
    parser.add_argument("--work", type=Path, required=True, help="where training left vocabulary and checkpoint")
    parser.add_argument("--root", type=Path, default=story_plot.ROOT, help="the project, to write into")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    state = torch.load(options.work / "checkpoint.pt", weights_only=True)
    texts = story_text.read(options.data)
    words = vocabulary(texts, options.work)
    held_out = story_rows(texts.held_out, words, RECIPE.shape.context)
    excerpt = held_out[:EXCERPT_STORIES]
    original = options.work / "stories-f32.gguf"
    story_files.write_f32(original, state["best"]["weights"], RECIPE.shape, words, "stories")
    curve, drawing = (options.root / path.relative_to(story_plot.ROOT) for path in (story_plot.CURVE, story_plot.PLOT))
    curve.write_text(json.dumps(_curve(state), indent=1) + "\n")
    story_plot.plot(curve, drawing)
    f32, n_tokens = story_measure.torch_perplexity(story_files.read_back(original, RECIPE.shape), held_out)
    engine = story_measure.engine_perplexity(original, held_out)
    print(f"F32: perplexity {f32:.4f} in PyTorch, {engine:.4f} in the engine, of {n_tokens} tokens", flush=True)
    fixture: dict[str, Any] = {"excerpt": excerpt, "continuations": {}}
    for name, recipe in FILES.items():
        path = options.root / "models" / f"{name}.gguf"
        story_files.quantize(original, path, recipe)
        measured = {
            "rows": f"the last {len(texts.held_out)} stories of the sample, each from its first token",
            "n_tokens": n_tokens,
            "value": story_measure.engine_perplexity(path, held_out),
            "pytorch_float32": story_measure.torch_perplexity(story_files.read_back(path, RECIPE.shape), held_out)[0],
            "unquantized": {"value": engine, "pytorch_float32": f32},
            "excerpt": {
                "rows": f"the first {len(excerpt)} of them, tests/fixtures/stories.json",
                "n_tokens": sum(len(row) - 1 for row in excerpt),
                "value": story_measure.engine_perplexity(path, excerpt),
            },
        }
        manifest.record(path.parent, name, _entry(path, recipe, options.data, texts, state) | {"perplexity": measured})
        fixture["continuations"][name] = story_measure.continuations(path, RECIPE.shape, words)
        print(f"{name}: {path.stat().st_size:,} bytes, {json.dumps(measured)}", flush=True)
        print("\n".join(f"  {row['prompt']}|{row['text']}" for row in fixture["continuations"][name]), flush=True)
    (options.root / "tests" / "fixtures" / "stories.json").write_text(json.dumps(fixture) + "\n")
    return 0


def _curve(state: dict[str, Any]) -> dict[str, Any]:
    names = ("step", "story_tokens", "training_loss", "validation_loss")
    return {
        "unit": "nats per token",
        "best_step": state["best"]["step"],
        "curve": [dict(zip(names, row, strict=True)) for row in state["curve"]],
    }


def _entry(path: Path, recipe: str, data: Path, texts: story_text.Texts, state: dict[str, Any]) -> dict[str, Any]:
    n_parameters = sum(value.numel() for value in state["best"]["weights"].values())
    return {
        **manifest.identity(path),
        "kind": "language model",
        "format": "gguf",
        "architecture": "llama",
        "description": story_files.DESCRIPTION,
        "n_parameters": n_parameters,
        "quantization": {"recipe": recipe, "tensors": story_files.block_types(path)},
        "licence": "MIT",
        "data": story_text.provenance(data),
        "split": {
            "train": f"the first {len(texts.train)} stories, and all passages of the books",
            "validation": f"the next {len(texts.validation)} stories, which chose the weights kept",
            "test": f"the last {len(texts.held_out)} stories",
        },
        "seed": RECIPE.seed,
        "parameters": asdict(RECIPE),
        "training": {
            "n_steps": state["step"],
            "best_step": state["best"]["step"],
            "validation_loss": state["best"]["loss"],
            "story_tokens": state["n_tokens"],
            "minutes": round(state["seconds"] / 60, 1),
        },
        "command": "python -m models.train.stories --data DATA --work WORK; then models.train.story_build likewise",
        "environment": {"threads": 1, "machine": platform.machine()},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("numpy", "torch", "numba")},
        },
    }


if __name__ == "__main__":
    sys.exit(main())
