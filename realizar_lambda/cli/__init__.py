"""The command line, `realizar-lambda COMMAND ...`: which commands there are, and how each one ends.

A command is a module of this package with `add_arguments(parser)` and `run(arguments) -> exit code`. Only the
module of the command that is asked for is imported. This module knows nothing of what commands do.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module

from realizar_lambda.errors import RealizarError
from realizar_lambda.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "inspect": ("inspect", "show what is in a model file: format, metadata, tensors, checksums"),
    "convert": ("convert", "convert between GGUF, safetensors and .apr v2 without touching a value"),
    "quantize": ("quantize", "write a model as GGUF with other block types: Q4_K_M, Q8_0, F16, ..."),
    "tokenize": ("tokenize", "cut a text into a model's tokens, or write the text of token ids"),
    "generate": ("generate", "write on from a prompt, or answer in a chat, as the text comes"),
    "perplexity": ("perplexity", "measure how well a model foresees a text"),
    "prefix": ("prefix", "compute what many prompts begin with once, into a file beside the model"),
    "predict": ("predict", "classify one row of features with a model"),
    "lambda-report": ("lambda_report", "show a deployed function's cold starts, from its CloudWatch logs"),
    "serve": ("serve", "answer over HTTP on a local port, as the function does in Lambda"),
}
"""Command -> (module of this package, what it does in one line)."""

OK, FAILED, USAGE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; the exit code.

    0 done, 1 failed with `error: ...` on stderr, 2 wrong usage, 130 interrupted, 141 the reader of the output
    went away.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        parser, parsers = _parser()
        chosen = arguments[0] if arguments else None
        if chosen not in COMMANDS:
            parser.parse_args(arguments)
            parser.print_help(sys.stderr)
            return USAGE
        module = import_module(f"{__name__}.{COMMANDS[chosen][0]}")
        module.add_arguments(parsers[chosen])
        code: int = module.run(parser.parse_args(arguments))
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except RealizarError as fault:
        print(f"error: {fault}", file=sys.stderr)
    except OSError as fault:
        what = fault.strerror or str(fault)
        print(f"error: {fault.filename}: {what}" if fault.filename else f"error: {what}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return FAILED


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = argparse.ArgumentParser(
        prog="realizar-lambda", description="Machine-learning inference with kernels compiled ahead of time."
    )
    parser.add_argument("--version", action="version", version=f"realizar-lambda {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", title="commands")
    return parser, {
        name: commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        for name, (_, summary) in COMMANDS.items()
    }
