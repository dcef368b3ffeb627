from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_classifiers

import realizar_lambda
from realizar_lambda import loading
from realizar_lambda.classification import Classifier
from realizar_lambda.errors import FormatError, ModelNotFoundError

ROOT = Path(realizar_lambda.__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with two classifiers, and what is none, named by the environment."""
    models = tmp_path / "models"
    models.mkdir()
    tiny_classifiers.write_mlp(models / "iris.apr", (4, 3))
    tiny_classifiers.write_mlp(models / "wine.apr", (13, 3))
    (models / "README.md").write_text("no model")
    (models / "notes").mkdir()
    monkeypatch.setenv("REALIZAR_MODELS_DIR", str(models))
    return models


@pytest.mark.parametrize("form", [str, Path])
def test_a_model_is_loaded_from_its_path(folder: Path, form: type) -> None:
    model = loading.load(form(folder / "wine.apr"))
    assert isinstance(model, Classifier)
    assert (model.name, model.n_inputs) == ("wine", 13)


@pytest.mark.parametrize("name", ["iris", "iris.apr"])
def test_a_model_is_loaded_by_its_name(folder: Path, name: str) -> None:
    model = loading.load(name)
    assert (model.name, model.n_inputs) == ("iris", 4)


def test_the_package_offers_load_without_importing_it_first(folder: Path) -> None:
    assert realizar_lambda.load is loading.load
    assert realizar_lambda.load("iris").name == "iris"


@pytest.mark.parametrize("name", ["mnist", "mnist.apr", "", "README", "irıs", "iris\0", "x" * 5000])
def test_an_unknown_name_is_refused_with_the_names_there_are(folder: Path, name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        loading.load(name)
    assert (caught.value.name, caught.value.known) == (name, ["iris", "wine"])


def test_without_a_models_folder_no_name_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALIZAR_MODELS_DIR", str(tmp_path / "absent"))
    with pytest.raises(ModelNotFoundError, match="known models: none"):
        loading.load("iris")


def test_a_path_that_leads_nowhere_is_the_systems_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        loading.load(str(folder / "absent.apr"))


def test_a_file_that_is_no_model_is_refused(folder: Path) -> None:
    with pytest.raises(FormatError):
        loading.load(folder / "README.md")


def test_the_models_folder_is_the_configured_one_then_lambdas_then_the_packages(tmp_path: Path) -> None:
    (tmp_path / "task" / "models").mkdir(parents=True)
    task = {"LAMBDA_TASK_ROOT": str(tmp_path / "task")}
    assert loading.models_folder({"REALIZAR_MODELS_DIR": "/somewhere", **task}) == "/somewhere"
    assert loading.models_folder(task) == str(tmp_path / "task" / "models")
    assert loading.models_folder({"LAMBDA_TASK_ROOT": str(tmp_path)}) == str(ROOT / "models")
    assert loading.models_folder({}) == str(ROOT / "models")


def test_loading_and_predicting_imports_no_numpy_and_no_numba(folder: Path) -> None:
    code = (
        "import sys, realizar_lambda\n"
        "realizar_lambda.load(sys.argv[1]).predict([1, 2, 3, 4])\n"
        "print(sorted({'numpy', 'numba', 'llvmlite', 'typing', 'pathlib', 'dataclasses'} & sys.modules.keys()))\n"
    )
    result = subprocess.run(
        [sys.executable, "-S", "-c", code, str(folder / "iris.apr")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.stdout, result.stderr) == ("[]\n", "")
