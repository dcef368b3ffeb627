"""`realizar-lambda convert IN OUT`: the same tensors and metadata in another file format."""

from __future__ import annotations

import argparse
import os
import sys

from realizar_lambda.cli.terminal import escaped, size_text
from realizar_lambda.formats import open_model
from realizar_lambda.formats.conversion import WRITERS, convert


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="a .gguf, .safetensors or .apr file, or a folder with one model")
    parser.add_argument("output", help=f"the file to write; its suffix names the format: {', '.join(WRITERS)}")


def run(arguments: argparse.Namespace) -> int:
    model = open_model(arguments.input, verify=True)
    print(f"{escaped(model.path)}: {model.format}, {len(model.tensors)} tensors, {size_text(model.n_bytes)}",
          file=sys.stderr, flush=True)  # fmt: skip
    convert(model, arguments.output)
    print(f"{escaped(arguments.output)}: {size_text(os.path.getsize(arguments.output))}", file=sys.stderr)
    return 0
