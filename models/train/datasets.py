"""The labelled data sets the models are trained on, read from the files their publishers offer.

Knows files, splits, licences; knows nothing of models. Features stay raw: pixels are 0..255, iris is in cm.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = tuple[NDArray[np.uint8] | NDArray[np.float32], NDArray[np.int64]]

IDX_IMAGES, IDX_LABELS = 0x0803, 0x0801
CIFAR_RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class Split:
    """A data set, divided. Features are (n_rows, n_inputs) raw u8 or f32, labels (n_rows,) i64.

    `files` are the paths read, relative to the data folder; `train_rows` and `test_rows` say in words which
    rows the two parts are.
    """

    train_features: NDArray[np.uint8] | NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_features: NDArray[np.uint8] | NDArray[np.float32]
    test_labels: NDArray[np.int64]
    train_rows: str
    test_rows: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Where a data set comes from and how to read it."""

    title: str
    source: str
    licence: str
    labels: tuple[str, ...]
    input_shape: tuple[int, ...]
    read: Callable[[Path], Split]

    def provenance(self, data: Path, split: Split) -> dict[str, object]:
        """What the manifest says of the data: title, source, licence and the sha256 of every file read."""
        sums = {name: hashlib.sha256((data / name).read_bytes()).hexdigest() for name in split.files}
        return {"title": self.title, "source": self.source, "licence": self.licence, "files_sha256": sums}


def read_idx(images: Path, labels: Path) -> Rows:
    """Read a gzipped IDX pair: images (n, rows * columns) u8 and labels (n,) i64."""
    raw = gzip.decompress(images.read_bytes())
    magic, n_images, height, width = np.frombuffer(raw, ">u4", 4).tolist()
    if magic != IDX_IMAGES or len(raw) != 16 + n_images * height * width:
        raise ValueError(f"{images}: not a gzipped IDX image file")
    tags = gzip.decompress(labels.read_bytes())
    magic, n_labels = np.frombuffer(tags, ">u4", 2).tolist()
    if magic != IDX_LABELS or n_labels != n_images or len(tags) != 8 + n_labels:
        raise ValueError(f"{labels}: not the gzipped IDX labels of {images}")
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(n_images, height * width)
    return pixels, np.frombuffer(tags, np.uint8, offset=8).astype(np.int64)


def read_cifar_batch(path: Path) -> Rows:
    """Read a CIFAR-10 binary batch: images (n, 3072) u8, planar R, G, B, and labels (n,) i64."""
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    if raw.size == 0 or raw.size % CIFAR_RECORD:
        raise ValueError(f"{path}: {raw.size} bytes are no whole number of {CIFAR_RECORD}-byte records")
    records = raw.reshape(-1, CIFAR_RECORD)
    return np.ascontiguousarray(records[:, 1:]), records[:, 0].astype(np.int64)


def stratified(labels: NDArray[np.int64], n_test: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide row numbers into (train, test), `n_test` in all, every class in its proportion; both ascending.

    The shuffle is NumPy's PCG64 from `seed`, class by class in ascending order.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * n_test / labels.size
    takes = np.floor(exact).astype(int)
    for index in np.argsort(takes - exact, kind="stable")[: n_test - int(takes.sum())]:
        takes[index] += 1
    test = []
    for label, take in zip(classes, takes, strict=True):
        test.append(rng.permutation(np.flatnonzero(labels == label))[:take])
    held_out = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(labels.size), held_out), held_out


def _mnist(data: Path) -> Split:
    names = tuple(
        f"mnist/{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    train = read_idx(data / names[0], data / names[1])
    test = read_idx(data / names[2], data / names[3])
    return Split(*train, *test, "the 60,000 training images", "all 10,000 test images", names)


def _mnist_zero_one(data: Path) -> Split:
    whole = _mnist(data)
    train, test = whole.train_labels < 2, whole.test_labels < 2
    return Split(
        whole.train_features[train],
        whole.train_labels[train],
        whole.test_features[test],
        whole.test_labels[test],
        f"the {int(train.sum()):,} training images of the digits 0 and 1",
        f"the {int(test.sum()):,} test images of the digits 0 and 1",
        whole.files,
    )


def _fashion(data: Path) -> Split:
    names = (
        "fashion-mnist/sprite900-images-idx3-ubyte.gz",
        "fashion-mnist/sprite900-labels-idx1-ubyte.gz",
    )
    pixels, labels = read_idx(data / names[0], data / names[1])
    train, test = stratified(labels, 200, seed=900)
    return Split(
        pixels[train],
        labels[train],
        pixels[test],
        labels[test],
        "700 of the 900 images, stratified by class (PCG64, seed 900)",
        "the other 200 images",
        names,
    )


def _cifar10(data: Path) -> Split:
    names = ("cifar-10/data_batch_1_first4000.bin", "cifar-10/test_batch_first1000.bin")
    train = read_cifar_batch(data / names[0])
    test = read_cifar_batch(data / names[1])
    return Split(
        *train,
        *test,
        "the first 4,000 images of data_batch_1",
        "the first 1,000 images of test_batch",
        names,
    )


def _iris(data: Path) -> Split:
    name = "sklearn/iris.csv"
    with (data / name).open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    features = np.array([row[:4] for row in rows], np.float32)
    labels = np.array([row[4] for row in rows], np.int64)
    train, test = stratified(labels, 60, seed=150)
    return Split(
        features[train],
        labels[train],
        features[test],
        labels[test],
        "90 of the 150 rows, stratified by class (PCG64, seed 150)",
        "the other 60 rows",
        (name,),
    )


_DIGITS = tuple("0123456789")
_MNIST = ("MNIST", "https://yann.lecun.com/exdb/mnist/", "freely available; original NIST data is public domain")

DATASETS = {
    "mnist": Dataset(*_MNIST, labels=_DIGITS, input_shape=(28, 28), read=_mnist),
    "mnist_zero_one": Dataset(*_MNIST, labels=("0", "1"), input_shape=(28, 28), read=_mnist_zero_one),
    "fashion_mnist": Dataset(
        "Fashion-MNIST, the 900 labelled images of the repository's sprite",
        "https://github.com/zalandoresearch/fashion-mnist",
        "MIT",
        labels=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        input_shape=(28, 28),
        read=_fashion,
    ),
    "cifar10": Dataset(
        "CIFAR-10, binary version, the first 4,000 training and 1,000 test images",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "freely available; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
        labels=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        input_shape=(3, 32, 32),
        read=_cifar10,
    ),
    "iris": Dataset(
        "Iris (Fisher, 1936), as scikit-learn ships it",
        "https://github.com/scikit-learn/scikit-learn/blob/main/sklearn/datasets/data/iris.csv",
        "BSD-3-Clause",
        labels=("setosa", "versicolor", "virginica"),
        input_shape=(4,),
        read=_iris,
    ),
}
