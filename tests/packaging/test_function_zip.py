from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from layout import ARCHITECTURES, NOT_SERVED, LayoutError, current_libraries, lay_out_code, own_architecture, settle
from zip_file import MAX_BYTES, main, package, write_zip

from lambda_emulator.events import api_gateway_v2
from lambda_emulator.function import Function
from realizar_lambda import native
from realizar_lambda.kernels.build import default_targets, is_current, source_hash
from realizar_lambda.kernels.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent.parent
NATIVE = ROOT / "realizar_lambda" / "_native"

needs_libraries = pytest.mark.skipif(
    not is_current(NATIVE, default_targets()), reason="no kernel libraries of these sources: `make kernels`"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "out" / "function.zip"
    package(path, pythons=[])
    return path


@pytest.fixture(scope="module")
def function(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function from the unpacked zip, with nothing of the checkout on its path."""
    if find_spec("awslambdaric") is None:
        pytest.skip("awslambdaric, the runtime client, is not installed")
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    env = {"PYTHONPATH": "", "PYTHONSAFEPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    with Function("handlers.predict.handler", cwd=folder, env=env, memory_mb=128) as running:
        yield running


@needs_libraries
def test_a_zip_is_small_and_holds_code_libraries_handlers_and_models_alone(archive: Path) -> None:
    assert archive.stat().st_size < MAX_BYTES // 2
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        assert opened.testzip() is None
        assert {entry.external_attr >> 16 & 0o7777 for entry in opened.infolist()} == {0o644}
    assert {name.split("/")[0] for name in names} == {"LICENSE", "handlers", "models", "realizar_lambda"}
    assert not [name for name in names if name.startswith(NOT_SERVED)]
    assert {name for name in names if name.endswith(".so")} == {
        f"realizar_lambda/_native/{name}.so" for name in default_targets()
    }
    assert "models/mnist_mlp.apr" in names
    assert "models/manifest.json" not in names


def test_equal_folders_make_equal_bytes_whatever_their_times_and_modes(tmp_path: Path) -> None:
    archives = []
    for number, mode in enumerate((0o600, 0o755)):
        folder = tmp_path / str(number) / "task"
        (folder / "inner").mkdir(parents=True)
        for name in ("b.py", "inner/a.py", "m.apr") if number else ("m.apr", "inner/a.py", "b.py"):
            (folder / name).write_bytes(b"x = 1\n" * 50)
            (folder / name).chmod(mode)
            os.utime(folder / name, (number, number + 10**9))
        write_zip(folder, tmp_path / f"{number}.zip")
        archives.append((tmp_path / f"{number}.zip").read_bytes())
    assert archives[0] == archives[1]


def test_a_settled_folder_is_readable_by_everybody_and_of_one_date(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir(mode=0o700)
    (tmp_path / "inner" / "model.apr").write_bytes(b"x")
    (tmp_path / "inner" / "model.apr").chmod(0o600)
    settle(tmp_path)
    found = [path.stat() for path in (tmp_path, tmp_path / "inner", tmp_path / "inner" / "model.apr")]
    assert [status.st_mode & 0o777 for status in found] == [0o755, 0o755, 0o644]
    assert len({status.st_mtime for status in found}) == 1


def test_a_checkout_without_libraries_is_refused_with_what_builds_them(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"no kernel library for .* in .*; `make kernels` builds them"):
        lay_out_code(tmp_path / "task", native=tmp_path)


def record(folder: Path, *names: str, source: str) -> None:
    """A folder of libraries that are none, and the record of their building."""
    (folder / "build.json").write_text(json.dumps({"source": source, "targets": names}))
    for name in names:
        (folder / f"{name}.so").write_bytes(b"\x7fELF")


def test_a_function_gets_the_libraries_of_its_architecture_alone(tmp_path: Path) -> None:
    record(tmp_path, *TARGETS, source=source_hash())
    for architecture, machine in ARCHITECTURES.items():
        output = tmp_path / architecture
        lay_out_code(output, native=tmp_path, architecture=architecture)
        found = {path.stem for path in (output / "realizar_lambda" / "_native").iterdir()}
        assert found == {name for name, _ in native.ISAS[machine]}


def test_an_architecture_without_libraries_is_refused_with_what_builds_them(tmp_path: Path) -> None:
    record(tmp_path, *default_targets(), source=source_hash())
    (other,) = ARCHITECTURES.keys() - {own_architecture()}
    words = (
        rf"no kernel library for {other} in .*; `.*kernels.build --target {native.ISAS[ARCHITECTURES[other]][-1][0]}"
    )
    with pytest.raises(LayoutError, match=words):
        lay_out_code(tmp_path / "task", native=tmp_path, architecture=other)


def test_libraries_of_other_sources_are_refused(tmp_path: Path) -> None:
    record(tmp_path, *default_targets(), source="0" * 64)
    with pytest.raises(LayoutError, match=r"are of other sources; `make kernels` builds them"):
        current_libraries(tmp_path, own_architecture())


@needs_libraries
def test_an_interpreter_that_does_not_exist_is_an_error_and_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "f.zip"), "--python", str(tmp_path / "python3.99")]) == 1
    assert "python3.99" in capsys.readouterr().err


@needs_libraries
def test_the_unpacked_zip_answers_an_api_event_with_its_own_library(function: Function) -> None:
    body = {"model_id": "iris", "features": [5.1, 3.5, 1.4, 0.2]}
    answer = function.invoke(api_gateway_v2("POST", "/predict", body)).payload
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["label"] == "setosa"
    maps = Path(f"/proc/{function.pid}/maps").read_text()
    libraries = {line.split()[-1] for line in maps.splitlines() if "/_native/" in line}
    assert len(libraries) == 1
    assert not libraries.pop().startswith(str(ROOT))


@needs_libraries
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_zip_with_a_runtimes_bytecode_answers_in_that_runtimes_python(version: str, tmp_path: Path) -> None:
    python = shutil.which(f"python{version}")
    asked = [python or "", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    if python is None or subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() != version:
        pytest.skip(f"no python{version} on PATH")
    package(tmp_path / "function.zip", pythons=[python])
    with zipfile.ZipFile(tmp_path / "function.zip") as opened:
        assert f"handlers/__pycache__/predict.cpython-{version.replace('.', '')}.pyc" in opened.namelist()
        opened.extractall(tmp_path / "task")
    for source in (tmp_path / "task").rglob("*.py"):
        source.write_text("raise SystemExit('the source was read')\n")
    event = json.dumps({"model_id": "iris", "features": [5.1, 3.5, 1.4, 0.2]})
    code = f"import json; from handlers.predict import handler; print(handler(json.loads('{event}'), None)['label'])"
    command = [python, "-B", "-W", "error", "-c", code]
    result = subprocess.run(
        command, cwd=tmp_path / "task", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines()[-1:] == ["setosa"], result.stderr


@needs_libraries
def test_the_unpacked_zip_lists_the_packaged_models(function: Function) -> None:
    listed = function.invoke({"action": "models"}).payload["models"]
    assert {model["id"] for model in listed} >= {"iris", "mnist_mlp", "cifar10_mlp"}
