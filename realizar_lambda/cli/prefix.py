"""`realizar-lambda prefix MODEL`: compute once what many prompts begin with, and keep it beside the model."""

from __future__ import annotations

import argparse
import sys
import time

from realizar_lambda.cli.terminal import size_text
from realizar_lambda.cli.text_input import open_language_model, read_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model file, or the name of one in the models folder")
    parser.add_argument("--file", metavar="PATH", default="-", help="the text (default: what is on stdin)")
    parser.add_argument("--chat", action="store_true", help="the text is a system message of the chat template")
    parser.add_argument("--out", metavar="PATH", help="default: the model's file with .prefix added, which is used")
    parser.add_argument("--room", type=int, default=512, metavar="N", help="tokens after it without a copy (512)")
    parser.add_argument("--parse-special", action="store_true", help="take special tokens in the text for such")


def run(arguments: argparse.Namespace) -> int:
    model = open_language_model(arguments.model)
    text = read_text(arguments.file)
    add_special, parse_special = True, arguments.parse_special
    if arguments.chat:
        messages = [{"role": "system", "content": text}]
        prompt = model.chat_prompt(messages, add_generation_prompt=False)
        text, add_special, parse_special = prompt.text, prompt.add_special, prompt.parse_special
    out = arguments.out or model.prefix_path
    begun = time.monotonic()
    n_bytes = model.save_prefix(out, text, room=arguments.room, add_special=add_special, parse_special=parse_special)
    seconds = time.monotonic() - begun
    print(f"{out}: {size_text(n_bytes)}, computed in {seconds:.2f} s", file=sys.stderr)
    return 0
