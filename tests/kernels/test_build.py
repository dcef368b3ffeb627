from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import native, ops
from realizar_lambda.errors import BuildError
from realizar_lambda.kernels import build
from realizar_lambda.kernels.targets import TARGETS, Target

ROOT = build.PACKAGE.parent
LEAST = native.ISAS[os.uname().machine][-1][0]


def python(
    *arguments: str, environment: dict[str, str] | None = None, root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """A fresh process of this interpreter that imports the package from `root`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("REALIZAR")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=root, env={**inherited, "PYTHONPATH": str(root), **(environment or {})},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def target(**changes: object) -> Target:
    return TARGETS[LEAST]._replace(**changes)


def test_the_builder_names_the_missing_compiler_and_its_package(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "CC": ""}
    result = python("-m", "realizar_lambda.kernels.build", "--output", str(tmp_path / "out"), environment=environment)
    assert result.returncode == 1
    assert "error: no C compiler to link " in result.stderr
    assert "on Debian install one with `apt-get install gcc`" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


FOREIGN = next(target for target in TARGETS.values() if not target.is_native)


def test_a_missing_cross_linker_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = rf"no C compiler to link {FOREIGN.name}: looked for {FOREIGN.linker}; .*`apt-get install {FOREIGN.package}`"
    with pytest.raises(BuildError, match=words):
        build.find_linker(FOREIGN)


def test_the_compiler_may_be_chosen_by_the_environment_but_for_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("my-cc", FOREIGN.linker):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "my-cc")
    assert build.find_linker(TARGETS[LEAST]) == str(tmp_path / "my-cc")
    assert build.find_linker(FOREIGN) == str(tmp_path / FOREIGN.linker)


def test_only_targets_of_this_architecture_are_built_unasked() -> None:
    assert build.default_targets() == [name for name, _ in reversed(native.ISAS[os.uname().machine])]
    assert FOREIGN.name not in build.default_targets()
    assert FOREIGN.name in build.default_targets(FOREIGN.triple.partition("-")[0])


def test_a_machine_without_targets_is_refused_by_the_command() -> None:
    result = python("-m", "realizar_lambda.kernels.build", "--machine", "riscv64")
    assert result.returncode == 2
    assert "no target is for the machine 'riscv64'" in result.stderr


def test_an_unknown_target_is_refused_by_the_command() -> None:
    result = python("-m", "realizar_lambda.kernels.build", "--target", "mips")
    assert result.returncode == 2
    assert "invalid choice: 'mips'" in result.stderr


def test_a_compilation_that_fails_shows_why(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="compiling the kernels for mips failed"):
        build.emit_object(target(name="mips"))


def record(folder: Path, content: object, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / build.RECORD).write_text(content if isinstance(content, str) else json.dumps(content))
    for name in names:
        (folder / f"{name}.so").write_bytes(b"")
    return folder


def test_libraries_are_current_when_they_are_there_and_their_record_has_the_sources_hash(tmp_path: Path) -> None:
    source = build.source_hash()
    assert build.is_current(record(tmp_path, {"source": source, "targets": ["a", "b"]}, "a", "b"), ["a", "b"])
    assert build.is_current(tmp_path, ["b"])
    assert not build.is_current(tmp_path, ["a", "c"])
    (tmp_path / "b.so").unlink()
    assert not build.is_current(tmp_path, ["a", "b"])


@pytest.mark.parametrize("content", [
    "", "{", "\0", "{}", {"source": "0" * 64, "targets": ["a"]}, {"source": None}, {"targets": ["a"]},
    {"source": build.source_hash(), "targets": []},
])  # fmt: skip
def test_a_record_that_is_old_or_broken_is_not_current(tmp_path: Path, content: object) -> None:
    assert not build.is_current(record(tmp_path, content, "a"), ["a"])


def test_no_record_is_not_current(tmp_path: Path) -> None:
    assert not build.is_current(tmp_path / "absent", ["a"])


@pytest.mark.parametrize("changed", ["kernels/matmul_dense.py", "kernels/block_types/dense.py", "ops.py", "blocks.py"])
def test_a_change_of_any_source_changes_the_hash(tmp_path: Path, changed: str) -> None:
    package = tmp_path / "realizar_lambda"
    shutil.copytree(build.PACKAGE / "kernels", package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "bundle.py", "errors.py", "ops.py", "blocks.py", "version.py"):
        shutil.copy(build.PACKAGE / name, package / name)
    code = "from realizar_lambda.kernels import build; print(build.source_hash())"
    assert python("-B", "-c", code, root=tmp_path).stdout.strip() == build.source_hash()
    with (package / changed).open("a") as file:
        file.write("\n")
    assert python("-B", "-c", code, root=tmp_path).stdout.strip() not in ("", build.source_hash())


LIBRARY = "from realizar_lambda.kernels import library\n"
DECLARATIONS = [
    # a kernel, what is wrong with it
    (
        "@op(f32p, f32p)\ndef frobnicate(out, x, width, n_tokens, position, thread, n_threads): pass",
        "op frobnicate: not in ops.OPS",
    ),
    (
        "@op(f32p, f32p)\ndef relu(out, x, n, n_tokens, position, thread, n_threads): pass",
        "op relu: parameters ['out', 'x', 'n', 'n_tokens', 'position', 'thread', 'n_threads'], "
        "the table has ['out', 'x', 'width', ",
    ),
    ("@op(f32p, f32p)\ndef relu(out, x, width, n_tokens, position, thread): pass", "op relu: parameters ['out', 'x'"),
    (
        "@op(f32p, f32p, f32p)\ndef relu(out, x, width, n_tokens, position, thread, n_threads): pass",
        "op relu: 3 pointer types for fewer pointer fields",
    ),
    ("@kernel(types.void, f32p)\ndef two(a, b): pass", "kernel two: 1 types for its parameters"),
    ("compiler.emit()", "operations without a kernel: "),
    (LIBRARY + "compiler._ops.pop('relu')\ncompiler.emit()", "operations without a kernel: relu"),
    (
        LIBRARY + "compiler._ops['relu'] = None\ncompiler._exports.pop('realizar_lanes')\ncompiler.emit()",
        "exports without a kernel: realizar_lanes",
    ),
]  # fmt: skip


def test_kernels_and_tables_that_disagree_are_refused() -> None:
    """All in one process, since importing numba takes a second."""
    code = (
        "import sys\n"
        "from numba import types\n"
        "from realizar_lambda.errors import BuildError\n"
        "from realizar_lambda.kernels import compiler\n"
        "from realizar_lambda.kernels.compiler import export, kernel, op\n"
        "from realizar_lambda.kernels.memory import f32p\n"
        "for code in sys.argv[1:]:\n"
        "    try:\n"
        "        exec(code)\n"
        "        print('accepted')\n"
        "    except BuildError as error:\n"
        "        print(error)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error)\n"
    )
    result = python("-c", code, *(declaration for declaration, _ in DECLARATIONS))
    assert result.returncode == 0, result.stderr
    found = result.stdout.splitlines()
    assert len(found) == len(DECLARATIONS)
    for line, (declaration, words) in zip(found, DECLARATIONS, strict=True):
        assert line.startswith(words), declaration


def test_every_operation_fits_a_record() -> None:
    for op in ops.OPS.values():
        assert len(op.fields) <= ops.RECORD_WORDS - 2, op.name
        assert {kind for _, kind in op.fields} <= {"p", "i", "f"}
    numbers = [op.number for op in ops.OPS.values()]
    assert numbers == list(range(len(numbers)))


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_first_use_anywhere_builds_the_same_bytes_and_keeps_them(
    native_folder: Path, tmp_path: Path, name: str
) -> None:
    """From a copy of the package in another folder, into the user's cache; a second use finds what is there."""
    if not build.is_current(native_folder, [name]):
        pytest.skip(f"{name} is of another architecture and not built here")
    copy = tmp_path / "copy"
    shutil.copytree(
        build.PACKAGE, copy / "realizar_lambda", ignore=shutil.ignore_patterns("*.so", "build.json", "__pycache__")
    )
    code = "import sys\nfrom realizar_lambda import native\nprint(native._find(sys.argv[1]))\n"
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONHASHSEED": "7", "HOME": str(tmp_path)}
    first = python("-c", code, name, environment=environment, root=copy)
    assert first.returncode == 0, first.stderr
    assert "first use: the kernels are compiled once and kept" in first.stderr
    built = Path(first.stdout.strip())
    assert built.is_relative_to(tmp_path / "cache")
    assert built.read_bytes() == (native_folder / f"{name}.so").read_bytes()
    again = python("-c", code, name, environment=environment, root=copy)
    assert (again.stdout, again.stderr) == (first.stdout, "")


@pytest.mark.slow
def test_the_kernels_of_another_architecture_compile_here() -> None:
    """Its object, which wants no linker: what breaks another architecture's kernels shows on any machine."""
    if shutil.which(FOREIGN.linker) is not None:
        pytest.skip(f"test_wheel.py builds {FOREIGN.name} whole where {FOREIGN.linker} is at hand")
    code = build.emit_object(FOREIGN)
    assert code.startswith(b"\x7fELF\x02\x01")
    assert int.from_bytes(code[18:20], "little") == {"aarch64": 183, "x86_64": 62}[FOREIGN.triple.partition("-")[0]]
    assert all(name.encode() in code for name in ops.EXPORTS)
