from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from bytecode import bundle_package, compile_file, compile_folder, standard_modules

from realizar_lambda import bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    task = tmp_path / "task"
    (task / "inner").mkdir(parents=True)
    (task / "one.py").write_text("def fail():\n    raise KeyError(1)\n")
    (task / "inner" / "two.py").write_text("NAMES = {'a', 'b', 'c'}\nIS_A = 'a' in {'a', 'b', 'c', 'd'}\n")
    return task


def cached(path: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(path)))


def test_bytecode_is_never_checked_against_its_source(folder: Path) -> None:
    assert compile_folder(folder) == 2
    header = cached(folder / "one.py").read_bytes()[:8]
    assert header[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(header[4:], "little") == 0b01  # by hash, unchecked


def test_a_module_runs_from_its_bytecode_whatever_its_source_says(folder: Path) -> None:
    compile_folder(folder)
    (folder / "one.py").write_text("raise SystemExit('the source was read')\n")
    command = [sys.executable, "-c", "import one; print(one.fail.__name__)"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.stdout == "fail\n", result.stderr


def test_two_compilations_in_different_processes_give_the_same_bytes(folder: Path) -> None:
    found = set()
    for seed in ("1", "2"):
        for path in folder.rglob("*.pyc"):
            path.unlink()
        script = Path(sys.modules["bytecode"].__file__ or "")
        command = [sys.executable, str(script), str(folder)]
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        found.add(cached(folder / "inner" / "two.py").read_bytes())
    assert len(found) == 1


def test_a_packages_bytecode_goes_into_one_file_but_for_what_opens_it(folder: Path) -> None:
    package = folder / "realizar_lambda"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__", "bundle", "one", "inner/__init__"):
        (package / f"{name}.py").write_text(f"NAME = {name!r}\n")
    compile_folder(folder)
    expected = cached(package / "one.py").read_bytes()[16:]
    assert bundle_package(package) == 2
    assert {path.name.partition(".")[0] for path in package.rglob("*.pyc")} == {"__init__", "bundle"}
    assert not (package / "inner" / "__pycache__").exists()
    content = (package / bundle.file_name()).read_bytes()
    assert content.endswith(expected)
    assert content.startswith(importlib.util.MAGIC_NUMBER)
    assert cached(folder / "one.py").exists()


def test_a_syntax_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("def (\n")
    with pytest.raises(Exception, match=r"/var/task/wrong\.py"):
        compile_file(tmp_path / "wrong.py", seen_as="/var/task/wrong.py")


def test_a_function_that_does_not_start_is_an_error(folder: Path) -> None:
    (folder / "handlers").mkdir()
    (folder / "handlers" / "__init__.py").write_text("raise ImportError('broken')\n")
    with pytest.raises(SystemExit, match="does not start"):
        standard_modules(folder)
