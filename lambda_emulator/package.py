"""A function as an image has it: its modules with bytecode in one folder, an interpreter with nothing else installed.

A developer's virtual environment is no place to time a start: an editable install alone imports `pathlib`, `re` and
`urllib` before a handler is looked for, which makes every start slower and every ratio better.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lambda_emulator.phases import ROOT
from lambda_emulator.records import EmulatorError

CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client")
"""The vendor's runtime client and what it imports."""

_FIND = (
    "import sys; from importlib.util import find_spec; print(*(find_spec(n).origin for n in sys.argv[1:]), sep='\\n')"
)


@dataclass(frozen=True, slots=True)
class Package:
    """`python` is the interpreter, `folder` what /var/task is in an image; an empty handler lies there, too."""

    python: str
    folder: Path


def lay_out(folder: Path, *, python: str = sys.executable) -> Package:
    """Make both in `folder`, of the version and with the runtime client of `python`. Raises EmulatorError."""
    task = folder / "task"
    _run(python, "-m", "venv", "--without-pip", str(folder / "python"))
    _run(sys.executable, str(ROOT / "packaging" / "layout.py"), str(task))
    for line in _run(python, "-c", _FIND, *CLIENT).splitlines():
        origin = Path(line)
        if origin.name == "__init__.py":
            ignored = shutil.ignore_patterns("__pycache__", "tests")
            shutil.copytree(origin.parent, task / origin.parent.name, ignore=ignored)
        else:
            shutil.copy(origin, task)
    shutil.copy(ROOT / "lambda_emulator" / "baseline" / "empty.py", task)
    interpreter = str(folder / "python" / "bin" / "python")
    _run(interpreter, str(ROOT / "packaging" / "bytecode.py"), str(task))
    return Package(interpreter, task)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise EmulatorError(f"the function cannot be packaged:\n{done.stderr[-2000:]}")
    return done.stdout
