from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import tiny_classifiers

import realizar_lambda
from realizar_lambda.kernels.build import DEFAULT_OUTPUT, default_targets, is_current, note, source_hash
from realizar_lambda.kernels.targets import TARGETS

ROOT = Path(realizar_lambda.__file__).resolve().parent.parent
MAX_BYTES = 10 << 20
UNSEEN = {
    ".git",
    ".venv",
    "build",
    "dist",
    "tests",
    "shared",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "__pycache__",
}

pytest.importorskip("setuptools", minversion="77", reason="the wheel is built by setuptools 77 or later")
pytestmark = pytest.mark.slow


def run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a command prints; its stderr is the failure's message."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "REALIZAR"))}
    result = subprocess.run(
        command, cwd=cwd, env=inherited | (environment or {}), capture_output=True, text=True, timeout=900, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


FOREIGN = next(target for target in TARGETS.values() if not target.is_native)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with what the checkout has built of them, and a library of another machine."""
    assert is_current(DEFAULT_OUTPUT, default_targets()), "run `make kernels`"
    source = tmp_path_factory.mktemp("wheel") / "source"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not UNSEEN & set(Path(name).parts):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    folder = source / "realizar_lambda" / "_native"
    folder.mkdir()
    for name in default_targets():
        shutil.copy(DEFAULT_OUTPUT / f"{name}.so", folder)
    note(default_targets(), folder, source_hash())
    (folder / f"{FOREIGN.name}.so").write_bytes(b"\x7fELF, made before")
    return source


def build(source: Path, output: Path, *options: str) -> Path:
    """The wheel that pip builds of the sources."""
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
    run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(output), *options, cwd=source)
    (built,) = output.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    return build(source, source.parent / "out")


@pytest.fixture(scope="module")
def interpreter(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--no-index", "--no-deps")
    run(*pip, str(wheel), cwd=folder)
    return python


def test_a_wheel_is_for_any_python_3_on_one_platform(wheel: Path) -> None:
    name, _, python, abi, platform = wheel.name.removesuffix(".whl").split("-")
    assert (name, python, abi) == ("realizar_lambda", "py3", "none")
    assert platform.startswith(("linux_", "manylinux"))


def test_a_wheel_holds_every_library_and_the_marker_of_types_and_is_small(wheel: Path) -> None:
    """The libraries are those that the checkout has."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.testzip() is None
        libraries = {name for name in names if name.endswith(".so")}
        assert libraries == {f"realizar_lambda/_native/{target}.so" for target in default_targets()}
        for name in default_targets():
            assert archive.read(f"realizar_lambda/_native/{name}.so") == (DEFAULT_OUTPUT / f"{name}.so").read_bytes()
    assert "realizar_lambda/py.typed" in names
    assert wheel.stat().st_size < MAX_BYTES


STAND_IN = """
import runpy, sys
from realizar_lambda.kernels import build

def compiled(target, output):
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{target.name}.so").write_text(f"compiled for {target.name}")
    return output / f"{target.name}.so"

build.build = compiled
sys.argv = ["setup.py", "--quiet", "build_py", "--build-lib", "made"]
runpy.run_path("setup.py")
"""


@pytest.mark.parametrize("change", ["no libraries", "other sources"])
def test_libraries_are_compiled_where_the_checkout_has_none_of_its_sources(
    source: Path, tmp_path: Path, change: str
) -> None:
    ignored = shutil.ignore_patterns(*(["_native"] if change == "no libraries" else []), "build", "*.egg-info")
    bare = shutil.copytree(source, tmp_path / "bare", ignore=ignored)
    if change == "other sources":
        with open(bare / "realizar_lambda" / "kernels" / "copies.py", "a") as file:
            file.write("\n# another line\n")
    run(sys.executable, "-c", STAND_IN, cwd=bare, environment={"PYTHONPATH": str(bare)})
    made = bare / "made" / "realizar_lambda" / "_native"
    assert {path.name: path.read_text() for path in made.glob("*.so")} == {
        f"{name}.so": f"compiled for {name}" for name in default_targets()
    }


def test_a_wheel_for_another_machine_holds_its_libraries_alone(wheel: Path, source: Path, tmp_path: Path) -> None:
    """Built in the same folder after this machine's own, whose libraries lie in it still."""
    if shutil.which(FOREIGN.linker) is None:
        pytest.skip(f"no {FOREIGN.linker}: on Debian install {FOREIGN.package}")
    machine = FOREIGN.triple.partition("-")[0]
    built = build(source, tmp_path, f"--config-settings=--build-option=--plat-name=manylinux_2_17_{machine}")
    assert built.name.endswith(f"-py3-none-manylinux_2_17_{machine}.whl")
    assert built.name.partition("-py3")[0] == wheel.name.partition("-py3")[0]
    with zipfile.ZipFile(built) as archive:
        libraries = {name: archive.read(name) for name in archive.namelist() if name.endswith(".so")}
    assert set(libraries) == {f"realizar_lambda/_native/{name}.so" for name in default_targets(machine)}
    assert {library[18:20] for library in libraries.values()} == {{"aarch64": b"\xb7\0", "x86_64": b"\x3e\0"}[machine]}
    for name in default_targets(machine) if is_current(DEFAULT_OUTPUT, default_targets(machine)) else ():
        assert libraries[f"realizar_lambda/_native/{name}.so"] == (DEFAULT_OUTPUT / f"{name}.so").read_bytes()


def test_a_wheel_for_a_machine_without_kernels_is_refused(source: Path, tmp_path: Path) -> None:
    option = "--config-settings=--build-option=--plat-name=win_amd64"
    with pytest.raises(AssertionError, match="the kernels are for Linux on aarch64 or x86_64, the wheel for win_amd64"):
        build(source, tmp_path, option)


def test_a_wheel_holds_nothing_of_tests_models_or_caches(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        wrong = [
            name for name in archive.namelist() if "__pycache__" in name or name.endswith((".apr", ".gguf", ".pyc"))
        ]
    assert {top for top in tops if not top.endswith(".dist-info")} == {"realizar_lambda", "handlers"}
    assert not wrong


def test_the_installed_wheel_predicts_without_numba_and_numpy(interpreter: Path, tmp_path: Path) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr", labels=tiny_classifiers.LABELS)
    code = (
        "import importlib.util, sys, realizar_lambda\n"
        "assert not any(map(importlib.util.find_spec, ('numba', 'llvmlite', 'numpy'))), 'not a bare environment'\n"
        "model = realizar_lambda.load(sys.argv[1])\n"
        "print(realizar_lambda.__file__)\n"
        "print(*model.predict([1.0, 2.0, -1.5, 0.25]).probabilities)\n"
        "print(model.predict(bytes([1, 2, 3, 4])).label)\n"
    )
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    where, probabilities, label = run(
        str(interpreter), "-c", code, path, cwd=tmp_path, environment=environment
    ).splitlines()
    assert Path(where).is_relative_to(interpreter.parent.parent)
    expected = tiny_classifiers.mlp_answer((4, 5, 3), [1.0, 2.0, -1.5, 0.25])
    assert [float(text) for text in probabilities.split()] == pytest.approx(expected, rel=1e-6)
    assert label in tiny_classifiers.LABELS
    assert not (tmp_path / "cache").exists()


def test_the_installed_command_inspects_a_model(interpreter: Path, tmp_path: Path) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr")
    assert "tiny" in run(str(interpreter.parent / "realizar-lambda"), "inspect", path, cwd=tmp_path)
