"""The checked-in models are what the manifest says they are, and reach what it says they reach."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles import mlp as oracle

import realizar_lambda
from realizar_lambda.formats import open_model

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models"
ENTRIES = json.loads((FOLDER / "manifest.json").read_text())["models"]
CLASSIFIERS = sorted(name for name, entry in ENTRIES.items() if entry["kind"] == "classifier")
FLOORS = {
    "mnist_784x2": 0.995,
    "mnist_mlp": 0.975,
    "mnist_mlp-q8_0": 0.973,
    "cifar10_mlp": 0.40,
    "iris": 0.93,
    "fashion_mnist_mlp": 0.75,
}
RECORDED = {"file", "sha256", "n_bytes", "kind", "architecture", "data", "licence", "split", "seed"} | {
    "command",
    "versions",
    "accuracy",
    "parameters",
}


@pytest.fixture(scope="module")
def splits(data_dir: Path) -> dict:
    """The data sets of the manifest, read by the code that read them for training."""
    sys.path.insert(0, str(ROOT))
    try:
        from models.train.datasets import DATASETS
    finally:
        sys.path.remove(str(ROOT))
    names = {ENTRIES[name]["dataset"] for name in CLASSIFIERS}
    return {name: DATASETS[name].read(data_dir / "classifiers") for name in names}


def test_every_model_file_is_in_the_manifest_and_the_other_way_round() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix in {".apr", ".gguf", ".safetensors"}}
    assert files == {entry["file"] for entry in ENTRIES.values()}


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_file_has_the_size_and_sha256_of_its_manifest_entry(name: str) -> None:
    entry = ENTRIES[name]
    content = (FOLDER / entry["file"]).read_bytes()
    assert len(content) == entry["n_bytes"]
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert Path(entry["file"]).stem == name


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_manifest_entry_says_where_a_model_came_from(name: str) -> None:
    entry = ENTRIES[name]
    assert entry.keys() >= RECORDED
    assert set(entry["data"]) == {"title", "source", "licence", "files_sha256"}
    accuracy = entry["accuracy"]
    assert accuracy["value"] == accuracy["n_correct"] / accuracy["n_rows"]
    assert accuracy["value"] >= FLOORS[name]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_data_a_model_was_trained_on_is_the_data_at_hand(name: str, data_dir: Path) -> None:
    for file, expected in ENTRIES[name]["data"]["files_sha256"].items():
        content = (data_dir / "classifiers" / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == expected


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_engine_reaches_the_accuracy_of_the_manifest(name: str, splits: dict) -> None:
    entry = ENTRIES[name]
    split = splits[entry["dataset"]]
    model = realizar_lambda.load(str(FOLDER / entry["file"]))
    answers = np.array([answer.index for answer in model.predict_batch(list(split.test_features))])
    assert len(answers) == entry["accuracy"]["n_rows"]
    assert int((answers == split.test_labels).sum()) == entry["accuracy"]["n_correct"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_float64_oracle_gives_the_accuracy_of_the_manifest_too(name: str, splits: dict) -> None:
    entry = ENTRIES[name]
    split = splits[entry["dataset"]]
    answers = oracle.probabilities(FOLDER / entry["file"], split.test_features).argmax(axis=1)
    assert int((answers == split.test_labels).sum()) == entry["accuracy"]["n_correct"]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_engine_gives_the_probabilities_of_a_float64_oracle(name: str, splits: dict) -> None:
    entry = ENTRIES[name]
    rows = splits[entry["dataset"]].test_features[:100]
    expected = oracle.probabilities(FOLDER / entry["file"], rows)
    model = realizar_lambda.load(str(FOLDER / entry["file"]))
    found = np.array([answer.probabilities for answer in model.predict_batch(list(rows))])
    np.testing.assert_allclose(found, expected, atol=2e-5 if "q8_0" not in name else 2e-2)
    assert model.n_inputs == rows.shape[1]
    assert list(model.labels or ENTRIES[name]["labels"]) == ENTRIES[name]["labels"]


def test_the_two_class_model_has_the_size_and_layout_of_the_known_file() -> None:
    model = open_model(str(FOLDER / "mnist_784x2.apr"))
    assert (model.n_bytes, model.format) == (3248, "apr-v1")


def test_the_two_class_model_tells_zeros_from_ones_and_is_unsure_of_an_empty_image(splits: dict) -> None:
    model = realizar_lambda.load(str(FOLDER / "mnist_784x2.apr"))
    split = splits["mnist_zero_one"]
    for digit in (0, 1):
        rows = split.test_features[split.test_labels == digit][:50]
        assert {answer.index for answer in model.predict_batch(list(rows))} == {digit}
    empty = model.predict(bytes(784))
    assert max(empty.probabilities) < 0.99


def test_quantising_the_digit_model_costs_at_most_a_fifth_of_a_percentage_point() -> None:
    whole, quantised = (ENTRIES[name]["accuracy"]["value"] for name in ("mnist_mlp", "mnist_mlp-q8_0"))
    assert abs(whole - quantised) <= 0.002


def test_zero_columns_fill_the_quantised_weight_up_to_whole_blocks() -> None:
    model = open_model(str(FOLDER / "mnist_mlp-q8_0.apr"))
    assert model.metadata["padding"] == {"layers.0.weight": {"columns": 784, "stored_columns": 800}}
    assert model.tensors["layers.0.weight"].shape == (128, 800)
    _, tensors = oracle.read_apr_v2((FOLDER / "mnist_mlp-q8_0.apr").read_bytes())
    assert not tensors["layers.0.weight"][:, 784:].any()


def test_all_models_together_stay_small_enough_to_ship() -> None:
    assert sum(entry["n_bytes"] for entry in ENTRIES.values() if entry["kind"] == "classifier") < 6_000_000
