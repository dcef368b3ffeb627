"""The function's folder as Lambda sees it, /var/task: package, kernel libraries, handlers, models. It compiles nothing.

    python packaging/layout.py OUTPUT [--native FOLDER] [--part code|models] [--architecture x86_64|arm64]
    python packaging/layout.py --settle FOLDER...      only fix modes and times

Modes and times are fixed, so that equal sources make equal layers and archives, whatever the checkout's umask was.
"""

from __future__ import annotations

import argparse
import marshal
import os
import shutil
import sys
from pathlib import Path

from manifest import ManifestError, unlisted_models, verified_models

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from realizar_lambda.kernels.build import default_targets, is_current  # noqa: E402  # it imports no compiler
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES  # noqa: E402
from realizar_lambda.tokenizers.stage_compiler import compile_stages  # noqa: E402

EPOCH = 946_684_800
"""The time of every packaged file, 2000-01-01 in UTC: past the earliest that a zip can say."""

PACKAGES = ("realizar_lambda", "handlers")
NOT_SERVED = (
    "realizar_lambda/kernels",
    "realizar_lambda/quantize",
    "realizar_lambda/cli",
    "realizar_lambda/__main__.py",
)
"""Build time, offline work and the command line: no request reaches them."""

NATIVE = "realizar_lambda/_native"

PRETOKENIZERS = "realizar_lambda/tokenizers/pretokenizers.bin"
COMPILED = ("gpt-2", "llama-bpe", "qwen2")
"""The pre-tokenizers that most models have, those that come with it among them: 55 kB each."""

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's name of an architecture, and the machine's own."""


def own_architecture() -> str:
    """Lambda's name of the architecture that this runs on; a machine's own name where Lambda has none like it."""
    machine = os.uname().machine
    return next((name for name, own in ARCHITECTURES.items() if own == machine), machine)


class LayoutError(Exception):
    """What is to be packaged is not there: what, and what makes it."""


def lay_out_code(
    output: Path, *, source: Path = ROOT, native: Path | None = None, architecture: str | None = None
) -> None:
    """The served modules, the handlers and an architecture's libraries of the folder `native`. Raises LayoutError."""
    for package in PACKAGES:
        for path in sorted((source / package).rglob("*.py")):
            relative = path.relative_to(source)
            if not any(relative.is_relative_to(left_out) for left_out in NOT_SERVED):
                _copy(path, output / relative)
    for library in current_libraries(native or source / NATIVE, architecture or own_architecture()):
        _copy(library, output / NATIVE / library.name)
    (output / PRETOKENIZERS).write_bytes(compiled_pretokenizers())
    _copy(source / "LICENSE", output / "LICENSE")


def compiled_pretokenizers() -> bytes:
    """What `realizar_lambda/tokenizers/pretokenizer.py` reads; the marshalling's second version refers to no objects,
    whose number of uses would be seen in the bytes."""
    chosen = [FAMILIES[name].stages for name in COMPILED]
    return marshal.dumps({tuple(map(tuple, stages)): compile_stages(stages) for stages in chosen}, 2)


def current_libraries(folder: Path, architecture: str) -> list[Path]:
    """The kernel libraries of `folder` for an architecture, built from this checkout's sources. Raises LayoutError."""
    machine = ARCHITECTURES.get(architecture, architecture)
    names = sorted(default_targets(machine))
    libraries = [path for path in (folder / f"{name}.so" for name in names) if path.exists()]
    named = " ".join(f"--target {name}" for name in names)
    is_own = architecture == own_architecture()
    builds = "make kernels" if is_own else f"python -m realizar_lambda.kernels.build {named}"
    if not libraries:
        raise LayoutError(f"no kernel library for {architecture} in {folder}; `{builds}` builds them")
    if not is_current(folder, [library.stem for library in libraries]):
        raise LayoutError(f"the kernel libraries in {folder} are of other sources; `{builds}` builds them")
    return libraries


def lay_out_models(output: Path, *, source: Path = ROOT) -> None:
    """The models that the manifest lists, each checked. Raises ManifestError."""
    for path in verified_models(source / "models"):
        _copy(path, output / "models" / path.name)
    for path in unlisted_models(source / "models"):
        print(f"left out: {path}, which manifest.json does not list", file=sys.stderr)


def settle(folder: Path) -> None:
    """Everybody may read everything in `folder`, nobody but its owner may write, and all of it is from EPOCH."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (EPOCH, EPOCH))
    folder.chmod(0o755)
    os.utime(folder, (EPOCH, EPOCH))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="packaging/layout.py", description="Lay out the function's folder.")
    parser.add_argument("output", type=Path, nargs="+")
    parser.add_argument("--native", type=Path, help="the folder of the kernel libraries (default: the package's)")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="default: this machine's")
    parser.add_argument("--part", choices=("code", "models"), help="default: both")
    parser.add_argument("--settle", action="store_true", help="lay out nothing, only fix modes and times")
    options = parser.parse_args(arguments)
    try:
        for output in options.output:
            if not options.settle and options.part != "models":
                lay_out_code(output, native=options.native, architecture=options.architecture)
            if not options.settle and options.part != "code":
                lay_out_models(output)
            settle(output)
    except (LayoutError, ManifestError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
