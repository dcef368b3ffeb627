"""`realizar-lambda tokenize MODEL TEXT`: how a model's tokenizer cuts a text, and what ids write."""

from __future__ import annotations

import argparse
import json
import sys

from realizar_lambda.cli.terminal import columns, escaped
from realizar_lambda.errors import RequestError
from realizar_lambda.tokenizers import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar_lambda.tokenizers.tokenizer import Tokenizer

MAX_INPUT_BYTES = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a .gguf or .apr model, tokenizer.json, a SentencePiece .model, vocab.json")
    parser.add_argument("text", help="the text, or - for standard input; with --decode ids parted by spaces or commas")
    parser.add_argument("--decode", action="store_true", help="write the text of ids")
    parser.add_argument(
        "--no-special", action="store_true", help="add no BOS and EOS; with --decode write control tokens"
    )
    parser.add_argument("--parse-special", action="store_true", help="take special tokens in the text for those tokens")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--ids", action="store_true", help="print the ids alone, parted by spaces")
    shown.add_argument("--pieces", action="store_true", help="print a line for each token: id and bytes (the default)")
    shown.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    tokenizer = load(arguments.model)
    text = _read() if arguments.text == "-" else arguments.text
    if arguments.decode:
        ids = parse_ids(text)
        decoded = tokenizer.decode(ids, skip_special=not arguments.no_special)
        if arguments.json:
            print(json.dumps({"token_ids": ids, "text": decoded}, ensure_ascii=True))
        else:
            sys.stdout.write(decoded + ("" if decoded.endswith("\n") else "\n"))
        return 0
    ids = tokenizer.encode(text, add_special=not arguments.no_special, parse_special=arguments.parse_special)
    if arguments.json:
        pieces = [tokenizer.piece(token).decode("utf-8", "replace") for token in ids]
        print(json.dumps({"token_ids": ids, "num_tokens": len(ids), "pieces": pieces}, ensure_ascii=True))
    elif arguments.ids:
        print(*ids)
    else:
        print("\n".join(report(tokenizer, ids)))
    return 0


def _read() -> str:
    """Standard input as UTF-8. Raises RequestError where it is not, or too long."""
    content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(content) > MAX_INPUT_BYTES:
        raise RequestError(413, f"the input must have at most {MAX_INPUT_BYTES} bytes, it has more", "text")
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise RequestError(422, f"the input must be UTF-8, byte {fault.start} is not", "text") from None


def parse_ids(text: str) -> list[int]:
    """Ids parted by white space or commas. Raises RequestError for anything else."""
    words = text.replace(",", " ").split()
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 12):
            raise RequestError(422, f"token ids must be whole numbers, got {word[:40]!r}", "token_ids")
    return [int(word) for word in words]


def report(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """A line for each token: its id, its bytes as text where they are that, and what it is if it is no plain one."""
    rows = []
    for token in ids:
        piece = tokenizer.piece(token)
        try:
            shown = f'"{escaped(piece.decode())}"'
        except UnicodeDecodeError:
            shown = " ".join(f"{byte:02x}" for byte in piece)
        rows.append((str(token), shown, "control" if tokenizer.is_control(token) else ""))
    n = len(rows)
    return [*columns(rows, right=(0,)), f"{n} token{'' if n == 1 else 's'}"] if rows else ["no tokens"]
