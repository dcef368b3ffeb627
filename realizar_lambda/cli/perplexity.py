"""`realizar-lambda perplexity MODEL TEXT`: how well a model foresees a text. What quantising costs shows here."""

from __future__ import annotations

import argparse
import json
import sys
import time

from realizar_lambda.cli.text_input import open_language_model, read_text
from realizar_lambda.generation.perplexity import perplexity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model file, or the name of one in the models folder")
    parser.add_argument("text", help="a file of text in UTF-8 (- is stdin)")
    parser.add_argument("--window", type=int, metavar="N", help="tokens at a time (default: the model's context)")
    parser.add_argument("--stride", type=int, metavar="N", help="tokens between two windows (default: half a window)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    model = open_language_model(arguments.model)
    ids = model.tokenizer.encode(read_text(arguments.text))
    is_shown = sys.stderr.isatty()

    def progress(n_scored: int, n_to_score: int) -> None:
        if is_shown:
            print(f"\r{n_scored} of {n_to_score} tokens", end="", file=sys.stderr, flush=True)

    begun = time.monotonic()
    found = perplexity(model, ids, window=arguments.window, stride=arguments.stride, progress=progress)
    seconds = time.monotonic() - begun
    if is_shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    if arguments.json:
        answer = {"model": model.name, "perplexity": found.value, "mean_surprise_nats": found.mean_surprise}
        print(json.dumps({**answer, "tokens": found.n_scored, "seconds": round(seconds, 3)}))
    else:
        print(f"{found.value:.4f}")
        print(f"{found.n_scored} tokens in {seconds:.1f} s, {found.n_scored / seconds:.1f} a second", file=sys.stderr)
    return 0
