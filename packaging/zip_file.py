"""The function as a zip for Lambda's managed Python runtimes, which bring the runtime client themselves.

    python packaging/zip_file.py OUTPUT.zip [--python PYTHON]... [--architecture x86_64|arm64]

Equal sources make equal bytes: entries are sorted, dated alike and stored with fixed modes. `--python` names an
interpreter of the runtime (3.12, 3.13) that compiles the modules to bytecode; without one the runtime compiles them
in every cold start. Models and libraries are stored, not compressed: weights hardly shrink.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from layout import ARCHITECTURES, EPOCH, LayoutError, lay_out_code, lay_out_models, settle
from manifest import ManifestError

MAX_BYTES = 50 << 20
"""What Lambda takes in a direct upload; a larger zip goes through S3, up to 250 MB unzipped."""

_BYTECODE = Path(__file__).with_name("bytecode.py")
_STORED = (".apr", ".gguf", ".safetensors")


def write_zip(folder: Path, output: Path) -> None:
    """The files of `folder` as a zip whose bytes depend on nothing else."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), time.gmtime(EPOCH)[:6])
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_STORED if path.suffix in _STORED else zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compresslevel=9)


def package(output: Path, *, pythons: list[str], architecture: str | None = None) -> None:
    """Lay the function out, compile it with each of `pythons`, zip it. Raises LayoutError and ManifestError."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "task"
        lay_out_code(folder, architecture=architecture)
        lay_out_models(folder)
        for python in pythons:
            result = subprocess.run([python, str(_BYTECODE), str(folder)], capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise LayoutError(f"{python} did not compile the modules:\n{result.stderr}")
        settle(folder)
        write_zip(folder, output)
    n_bytes = output.stat().st_size
    if n_bytes > MAX_BYTES:
        raise LayoutError(f"{output} has {n_bytes} bytes, a direct upload at most {MAX_BYTES}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="packaging/zip_file.py", description="Package the function as a zip.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--python", action="append", default=[], metavar="PYTHON", dest="pythons")
    parser.add_argument("--architecture", choices=ARCHITECTURES, help="the function's; default: this machine's")
    options = parser.parse_args(arguments)
    try:
        package(options.output, pythons=options.pythons, architecture=options.architecture)
    except (LayoutError, ManifestError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB")
    if not options.pythons:
        print(
            "no bytecode in it, so that every cold start compiles the modules: no --python names the runtime's "
            "interpreter (make looks for python3.12 and python3.13 on PATH)",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
