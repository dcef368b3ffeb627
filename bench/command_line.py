"""The arguments that benchmarks share: `parser` has what all have, the others add what several have.

It knows no benchmark.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench import random_llama, results
from lambda_emulator.environment import program
from realizar_lambda import native


def parser(name: str, description: str, *, rounds: int, least_rounds: int = 1) -> argparse.ArgumentParser:
    """Of `python -m bench.NAME`: how many rounds are counted, and where the result is stored."""
    found = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    found.add_argument(
        "--rounds",
        type=at_least(least_rounds),
        default=rounds,
        metavar="N",
        help="counted rounds (default %(default)s)",
    )
    found.add_argument("--results", type=Path, default=results.FOLDER, help="where to store (default bench/results)")
    return found


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a number from `least` on."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return number


def add_peer_python(parser: argparse.ArgumentParser, *, has: str = "the peers", is_required: bool = False) -> None:
    """Which interpreter runs the peers."""
    parser.add_argument(
        "--peer-python",
        type=program,
        default=sys.executable,
        required=is_required,
        help=f"the interpreter that has {has}",
    )


def add_base_image(parser: argparse.ArgumentParser) -> None:
    """What the images are built on."""
    parser.add_argument("--base-image", default=os.environ.get("REALIZAR_BASE_IMAGE"), help="default: Dockerfile's")


def add_llamas(parser: argparse.ArgumentParser, *types: str) -> None:
    """Which random Llamas, and in which types of block."""
    parser.add_argument("--sizes", nargs="*", default=["110M", "1.1B"], choices=sorted(random_llama.SIZES))
    parser.add_argument("--types", nargs="+", default=list(types), metavar="BLOCK_TYPE")


def add_models(parser: argparse.ArgumentParser, *, is_required: bool = False) -> None:
    """Where random Llamas are kept."""
    parser.add_argument(
        "--models", type=Path, required=is_required, help="where the models are kept, and made if missing"
    )


def add_isa(parser: argparse.ArgumentParser) -> None:
    """Which kernel library is ours, where it is not the best that the CPU runs."""
    parser.add_argument("--isa", help="force our kernel library, and store the result as NAME_ISA.json")


def stored_name(name: str, options: argparse.Namespace) -> str:
    """What the result of benchmark `name` is called; has this process and its children use the library that --isa
    forces."""
    if options.isa is None:
        return name
    os.environ[native.ISA_VARIABLE] = options.isa
    return f"{name}_{options.isa}"


def add_threads(parser: argparse.ArgumentParser, *counts: int) -> None:
    """With how many threads, one after the other."""
    parser.add_argument("--threads", nargs="+", type=at_least(1), default=list(counts), metavar="N")
