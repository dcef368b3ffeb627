"""Models without weights, the files that stand for them, and an application over those."""

from __future__ import annotations

import os
from collections import namedtuple

from serving.fake_generator import FakeGenerator

from realizar_lambda.errors import FormatError
from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import Application
from realizar_lambda.serving.settings import Settings

Prediction = namedtuple("Prediction", "index label probabilities")


class FakeModelFile:
    """The part of a model file that serving reads."""

    def __init__(self, metadata: dict[str, object]) -> None:
        self.metadata = metadata
        self.format = "apr-v2"
        self.checks = {"footer checksum": "absent"}
        self.buffer = b""


class FakeClassifier:
    """Three inputs, three outputs: probabilities are the inputs over their sum."""

    name = "abc"
    description = "largest input wins"

    def __init__(
        self, *, n_inputs: int = 3, labels: tuple[str, ...] | None = ("a", "b", "c"), version: str = "7"
    ) -> None:
        self.n_inputs = n_inputs
        self.n_outputs = n_inputs
        self.labels = labels
        self.model_file = FakeModelFile({"version": version})
        self.n_calls = 0

    def predict(self, features) -> Prediction:
        self.n_calls += 1
        return self._answer(features)

    def predict_batch(self, rows) -> list[Prediction]:
        self.n_calls += 1
        return [self._answer(row) for row in rows]

    def _answer(self, features) -> Prediction:
        total = sum(features) or 1
        probabilities = tuple(value / total for value in features)
        index = max(range(len(probabilities)), key=probabilities.__getitem__)
        return Prediction(index, self.labels[index] if self.labels else None, probabilities)


class OverflowingClassifier(FakeClassifier):
    """Whatever it is asked, its arithmetic overflows."""

    def _answer(self, features) -> Prediction:
        return Prediction(0, "a", (float("nan"),) * 3)


FAKES = {"story.gguf": FakeGenerator, "overflowing.apr": OverflowingClassifier}


def load_fake(path: str):
    name = os.path.basename(path)
    if name == "broken.apr":
        raise FormatError(path, 4, "the version is 9, it must be 2")
    return FAKES.get(name, FakeClassifier)()


def fill(folder):
    """Files for the fake models: empty but for their size."""
    for name in ("abc.apr", "other.apr", "broken.apr", "overflowing.apr", "story.gguf", "notes.txt"):
        (folder / name).write_bytes(b"12345")
    return folder


def make_application(folder, log, **options) -> Application:
    """`options` are settings."""
    registry = Registry(str(folder), load=load_fake, summarise=lambda path: {"size_bytes": 5})
    settings = Settings(**{"models_dir": str(folder), "default_model": "abc", **options})
    return Application(settings, registry, kernels=lambda: "fake_isa", log=log)
