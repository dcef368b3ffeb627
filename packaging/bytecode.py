"""Bytecode made while packaging, since nothing can be written where a function runs: unchecked, so no source is read.

That of our package's modules is put into one file, from which a start is faster (realizar_lambda/bundle.py).

    python packaging/bytecode.py FOLDER                    all modules of a folder
    python packaging/bytecode.py FOLDER --standard ROOT    and, under ROOT, the standard library's that it starts with

Official Python images carry no bytecode of the standard library: without the second form each cold start compiles
some hundred modules. Run it by the interpreter that will run the function. Equal sources make equal bytecode: string
hashing, which orders the constants that are sets, is fixed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import py_compile
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from realizar_lambda import bundle  # noqa: E402  # which is all that it imports of the package, but for the version

_UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
_HEADER_BYTES = 16  # of a .pyc file: the interpreter's number, flags, the source's hash

_STARTS_WITH = """
import importlib, os, sys
sys.path.insert(0, os.getcwd())
import runpy, awslambdaric.__main__, awslambdaric.bootstrap
for name in ("handlers.generate", "handlers.predict"):
    handler = importlib.import_module(name).handler
for event in ({"action": "health"}, {"action": "models"}, {"version": "2.0", "rawPath": "/models", "headers": {},
              "requestContext": {"http": {"method": "GET", "path": "/models"}}}):
    handler(event, None)
found = {module.__spec__.origin for module in list(sys.modules.values()) if getattr(module, "__spec__", None)}
found |= {getattr(module, "__file__", None) for module in list(sys.modules.values())}
print(*sorted(path for path in found if path and path.endswith(".py")), sep="\\n", file=sys.stderr)
"""


def compile_file(source: Path, *, seen_as: str, target: Path | None = None) -> None:
    """The bytecode of one module, whose tracebacks will name `seen_as`; beside it, or where `target` says."""
    cached = target or Path(importlib.util.cache_from_source(str(source)))
    cached.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(str(source), str(cached), seen_as, doraise=True, invalidation_mode=_UNCHECKED)


def compile_folder(folder: Path, *, seen_at: str = "/var/task") -> int:
    """The bytecode of every module of `folder`, which will lie at `seen_at`; how many there are."""
    sources = sorted(folder.rglob("*.py"))
    for source in sources:
        compile_file(source, seen_as=f"{seen_at}/{source.relative_to(folder).as_posix()}")
    return len(sources)


def bundle_package(package: Path) -> int:
    """Move the bytecode of a package's modules, all but what opens it, into the file for this interpreter; how many."""
    modules = {}
    for source in sorted(package.rglob("*.py")):
        parts = source.relative_to(package.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        if name in (package.name, bundle.__name__):
            continue
        cached = Path(importlib.util.cache_from_source(str(source)))
        modules[name] = cached.read_bytes()[_HEADER_BYTES:], is_package
        cached.unlink()
    (package / bundle.file_name()).write_bytes(bundle.packed(modules))
    for folder in sorted(package.rglob("__pycache__"), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return len(modules)


def standard_modules(folder: Path) -> list[Path]:
    """The standard library's files that a function in `folder` has loaded once it answered."""
    result = subprocess.run(
        [sys.executable, "-c", _STARTS_WITH], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise SystemExit(f"error: the function in {folder} does not start:\n{result.stderr}")
    files = [Path(line) for line in result.stderr.splitlines() if line.startswith("/")]
    return [path for path in files if path.exists() and not path.is_relative_to(folder.resolve())]


def compile_standard(folder: Path, root: Path) -> int:
    """Bytecode of `standard_modules`, at its place under `root`; how many there are."""
    sources = standard_modules(folder)
    for source in sources:
        cached = Path(importlib.util.cache_from_source(str(source)))
        compile_file(source, seen_as=str(source), target=root / cached.relative_to("/"))
    return len(sources)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="packaging/bytecode.py", description="Compile a packaged function's modules.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--standard", type=Path, metavar="ROOT")
    options = parser.parse_args(arguments)
    if sys.flags.hash_randomization:
        os.execve(sys.executable, [sys.executable, __file__, *arguments], {**os.environ, "PYTHONHASHSEED": "0"})
    print(f"bytecode of {compile_folder(options.folder)} modules", file=sys.stderr)
    package = options.folder / bundle.__name__.partition(".")[0]
    if package.is_dir():
        print(f"{bundle_package(package)} of them in one file", file=sys.stderr)
    if options.standard is not None:
        n = compile_standard(options.folder, options.standard)
        print(f"bytecode of {n} modules of the standard library", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
