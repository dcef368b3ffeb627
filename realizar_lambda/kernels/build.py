"""Builds the kernel libraries: `python -m realizar_lambda.kernels.build`. It knows no kernel.

Each target is compiled by a process of its own, since a kernel's vector widths are fixed when it is imported.
The object is linked with the system's C compiler against nothing: the few libc symbols it wants are those of the
process that loads it. Two builds with the same versions of numba and llvmlite give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from realizar_lambda.errors import BuildError
from realizar_lambda.kernels.targets import TARGETS, VARIABLE, Target

PACKAGE = Path(__file__).resolve().parent.parent
DEFAULT_OUTPUT = PACKAGE / "_native"
RECORD = "build.json"


def source_hash() -> str:
    """The sha256 of everything a library is made from: the kernels and the tables they share with the package."""
    digest = hashlib.sha256()
    for path in [*sorted((PACKAGE / "kernels").rglob("*.py")), PACKAGE / "ops.py", PACKAGE / "blocks.py"]:
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def find_linker(target: Target) -> str:
    """The C compiler that links for `target`; BuildError says what to install where there is none."""
    candidates = [*filter(None, [os.environ.get("CC")]), "cc", "gcc", "clang"] if target.is_native else []
    for name in [*candidates, target.linker]:
        found = shutil.which(name)
        if found:
            return found
    raise BuildError(
        f"no C compiler to link {target.name}: looked for {', '.join([*candidates, target.linker])}; on Debian install "
        f"one with `apt-get install {'gcc' if target.is_native else target.package}`"
    )


def emit_object(target: Target) -> bytes:
    """The relocatable object of `target`, compiled by a fresh process."""
    environment = {**os.environ, VARIABLE: target.name, "PYTHONHASHSEED": "0", "NUMBA_OPT": "0"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), *filter(None, [environment.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernels.o")
        command = [sys.executable, "-m", "realizar_lambda.kernels.library", path]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"compiling the kernels for {target.name} failed:\n{result.stderr}")
        return Path(path).read_bytes()


def build(target: Target, output: Path) -> Path:
    """Compile and link one library to `output/<target>.so`, replacing it in one step."""
    find_linker(target)  # a missing one is said before the minute of compiling
    return link(emit_object(target), target, output)


def link(code: bytes, target: Target, output: Path) -> Path:
    """Link an object to `output/<target>.so`, replacing it in one step."""
    linker = find_linker(target)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as folder:
        (Path(folder) / "kernels.o").write_bytes(code)
        command = [
            linker, "-shared", "-nostdlib", "-o", "library.so", "kernels.o", "-s",
            "-Wl,--build-id=none", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,text", "-Wl,--hash-style=gnu",
        ]  # fmt: skip
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"linking the kernels for {target.name} failed:\n{result.stderr}")
        finished = output / f"{target.name}.so"
        os.replace(Path(folder) / "library.so", finished)
    return finished


def is_current(output: Path, names: list[str]) -> bool:
    """Whether `output` holds the libraries of these names, built from the sources as they are."""
    try:
        record = json.loads((output / RECORD).read_text())
    except (OSError, ValueError):
        return False
    return record.get("source") == source_hash() and all(
        name in record["targets"] and (output / f"{name}.so").exists() for name in names
    )


def build_all(names: list[str], output: Path, *, force: bool = False) -> None:
    """Build the named targets into `output` unless they are current, saying so on stderr."""
    if not force and is_current(output, names):
        return
    source = source_hash()

    def one(name: str) -> None:
        started = time.monotonic()
        path = build(TARGETS[name], output)
        seconds = time.monotonic() - started
        print(f"{name}: {path.stat().st_size / 1024:.0f} KiB in {seconds:.1f} s", file=sys.stderr, flush=True)

    print(f"building kernels for {', '.join(names)} (about a minute) ...", file=sys.stderr, flush=True)
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        for finished in [pool.submit(one, name) for name in names]:
            finished.result()
    note(names, output, source)


def note(names: list[str], output: Path, source: str) -> None:
    """Write down that the named libraries in `output` are of these sources, besides others that are."""
    try:
        record = json.loads((output / RECORD).read_text())
    except (OSError, ValueError):
        record = {}
    built = set(names) | (set(record.get("targets", ())) if record.get("source") == source else set())
    (output / RECORD).write_text(json.dumps({"source": source, "targets": sorted(built)}) + "\n")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m realizar_lambda.kernels.build", description=__doc__)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all of the machine's")
    parser.add_argument("--machine", default=os.uname().machine, help="as `uname -m` says it; default: this one")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of the libraries")
    parser.add_argument("--force", action="store_true", help="build even what is current")
    arguments = parser.parse_args(argv)
    if not (arguments.target or default_targets(arguments.machine)):
        parser.error(f"no target is for the machine {arguments.machine!r}")
    try:
        build_all(arguments.target or default_targets(arguments.machine), arguments.output, force=arguments.force)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def default_targets(machine: str | None = None) -> list[str]:
    """The targets of a machine's architecture, of this one's where none is named."""
    own = machine or os.uname().machine
    return [name for name, target in TARGETS.items() if target.triple.startswith(f"{own}-")]


if __name__ == "__main__":
    sys.exit(main())
