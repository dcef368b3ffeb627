"""Modules out of one file: what packaging puts there is what runs, and without a file for this interpreter none is."""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import bundle

ROOT = Path(bundle.__file__).resolve().parent.parent

SOURCES = {
    "__init__.py": "",
    "one.py": "NAME = __name__\ndef fail():\n    raise KeyError('one')\n",
    "inner/__init__.py": "PATH = __path__\n",
    "inner/two.py": "from pack.one import NAME\nfrom . import PATH\nFILE = __file__\n",
}

USE = """
import sys
from realizar_lambda import bundle
before = list(sys.meta_path)
print(bundle.install(sys.argv[1]), len(sys.meta_path) - len(before))
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
from pack.inner import two
import pack
print(two.NAME, two.PATH, two.FILE, pack.inner.two is two)
print(type(two.__spec__.loader).__name__, two.__spec__.parent, two.__package__, pack.inner.__spec__.parent)
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A package on disk, and its modules but for the outermost in a file."""
    folder = tmp_path / "pack"
    modules = {}
    for name, text in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        parts = path.relative_to(tmp_path).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        code = marshal.dumps(compile(text, str(path), "exec", dont_inherit=True))
        modules[".".join(parts[:-1] if is_package else parts)] = code, is_package
    del modules["pack"]
    (folder / bundle.file_name()).write_bytes(bundle.packed(modules))
    return folder


def use(pack: Path, code: str = USE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-W", "error", "-c", code, str(pack)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_modules_and_packages_run_from_the_file_whatever_the_sources_say(pack: Path) -> None:
    for name in SOURCES:
        if name != "__init__.py":
            (pack / name).write_text("raise SystemExit('the source was read')\n")
    result = use(pack)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "True 1",
        f"pack.one ['{pack}/inner'] {pack}/inner/two.py True",
        "Bundle pack.inner pack.inner pack.inner",
    ]


def test_a_traceback_shows_the_line_of_the_source(pack: Path) -> None:
    result = use(pack, USE + "import pack.one\npack.one.fail()\n")
    assert f"File \"{pack}/one.py\", line 3, in fail\n    raise KeyError('one')" in result.stderr


def test_a_module_of_the_package_that_is_in_no_file_is_found_in_its_folder(pack: Path) -> None:
    (pack / "inner" / "three.py").write_text("VALUE = 3\n")
    result = use(pack, USE + "from pack.inner.three import VALUE\nprint(VALUE)\n")
    assert result.stdout.splitlines()[-1] == "3", result.stderr


def test_a_module_that_is_nowhere_is_an_import_error(pack: Path) -> None:
    assert "No module named 'pack.four'" in use(pack, USE + "import pack.four\n").stderr


@pytest.mark.parametrize("change", ["absent", "of another interpreter", "empty"])
def test_without_a_file_for_this_interpreter_modules_are_found_as_ever(pack: Path, change: str) -> None:
    file = pack / bundle.file_name()
    if change == "absent":
        file.rename(pack / bundle.file_name("cpython-38"))
    else:
        file.write_bytes(b"\0\0\r\n" + file.read_bytes()[4:] if change == "of another interpreter" else b"")
    result = use(pack)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "False 0"
    assert result.stdout.splitlines()[2].startswith("SourceFileLoader ")


def test_the_file_is_not_left_to_the_processes_that_a_function_starts(pack: Path) -> None:
    code = USE + (
        "import os\n"
        "held = [fd for fd in range(3, 20) if os.path.exists(f'/proc/self/fd/{fd}') "
        "and os.readlink(f'/proc/self/fd/{fd}').endswith('.bin')]\n"
        "print(len(held), [os.get_inheritable(fd) for fd in held])\n"
    )
    assert use(pack, code).stdout.splitlines()[-1] == "1 [False]"


def test_a_source_checkout_has_no_file() -> None:
    assert not bundle.install(str(Path(bundle.__file__).parent))
    assert importlib.util.find_spec("realizar_lambda.errors").loader.__class__.__name__ != "Bundle"  # type: ignore[union-attr]
