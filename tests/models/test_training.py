"""Training data are divided fairly and read strictly, and training again gives the same bytes."""

from __future__ import annotations

import gzip
import json
import os
import platform
import struct
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "models"
MODULES = {"torch": "torch", "numpy": "numpy", "scikit-learn": "sklearn", "scipy": "scipy"}


@pytest.fixture(scope="module")
def datasets():
    """The module that reads the data sets; it lies outside the package."""
    sys.path.insert(0, str(ROOT))
    try:
        from models.train import datasets
    finally:
        sys.path.remove(str(ROOT))
    return datasets


def test_a_split_has_every_row_once_and_every_class_in_its_proportion(datasets) -> None:
    labels = np.array([0] * 50 + [1] * 30 + [2] * 20)
    train, test = datasets.stratified(labels, 20, seed=3)
    assert sorted([*train, *test]) == list(range(100))
    assert np.bincount(labels[test]).tolist() == [10, 6, 4]


def test_a_split_of_classes_that_do_not_divide_evenly_still_has_the_size_asked_for(datasets) -> None:
    labels = np.array([0] * 7 + [1] * 5 + [2] * 3)
    _, test = datasets.stratified(labels, 4, seed=0)
    assert len(test) == 4
    assert set(labels[test]) == {0, 1, 2}


def test_the_same_seed_gives_the_same_split_and_another_seed_another(datasets) -> None:
    labels = np.arange(300) % 3
    first, again, other = (datasets.stratified(labels, 60, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (struct.pack(">4I", 0x0801, 2, 2, 2) + bytes(8), struct.pack(">2I", 0x0801, 2) + bytes(2)),
        (struct.pack(">4I", 0x0803, 2, 2, 2) + bytes(7), struct.pack(">2I", 0x0801, 2) + bytes(2)),
        (struct.pack(">4I", 0x0803, 2, 2, 2) + bytes(8), struct.pack(">2I", 0x0801, 3) + bytes(3)),
        (struct.pack(">4I", 0x0803, 2, 2, 2) + bytes(8), struct.pack(">2I", 0x0801, 2) + bytes(1)),
    ],
    ids=["wrong magic", "pixels cut off", "another count of labels", "labels cut off"],
)
def test_idx_files_that_do_not_fit_together_are_refused(datasets, tmp_path, images, labels) -> None:
    for name, content in (("images", images), ("labels", labels)):
        (tmp_path / name).write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="not "):
        datasets.read_idx(tmp_path / "images", tmp_path / "labels")


def test_a_cifar_batch_that_ends_within_a_record_is_refused(datasets, tmp_path) -> None:
    (tmp_path / "batch").write_bytes(bytes(3073 + 10))
    with pytest.raises(ValueError, match="3083 bytes"):
        datasets.read_cifar_batch(tmp_path / "batch")


@pytest.mark.peers
@pytest.mark.parametrize("name", ["iris", "mnist_784x2"])
def test_training_again_gives_the_same_bytes(name: str, data_dir: Path, tmp_path: Path) -> None:
    expected = json.loads((FOLDER / "manifest.json").read_text())["models"][name]
    found = {"python": platform.python_version()} | {
        package: version(package) if find_spec(module) else "absent" for package, module in MODULES.items()
    }
    differing = {
        package: found[package]
        for package in ("torch", *expected["versions"])
        if found[package] != expected["versions"].get(package, found[package]) or found[package] == "absent"
    }
    if differing.keys() - {"python"}:
        pytest.skip(f"trained with {expected['versions']}; here {differing}")
    command = [sys.executable, "-m", "models.train", "--data", str(data_dir / "classifiers")]
    subprocess.run([*command, "--out", str(tmp_path), name], cwd=ROOT, env=os.environ, check=True)
    assert (tmp_path / f"{name}.apr").read_bytes() == (FOLDER / f"{name}.apr").read_bytes()
    assert json.loads((tmp_path / "manifest.json").read_text())["models"][name]["accuracy"] == expected["accuracy"]
