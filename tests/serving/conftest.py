"""An application over fake models in real (empty) files, and a handler over it."""

from __future__ import annotations

import os

import pytest

from realizar_lambda.errors import FormatError
from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import Application
from realizar_lambda.serving.lambda_handler import make_event_handler
from realizar_lambda.serving.settings import Settings
from tests.serving.fake_models import FakeClassifier, FakeGenerator, OverflowingClassifier


FAKES = {"story.gguf": FakeGenerator, "overflowing.apr": OverflowingClassifier}


def load_fake(path: str):
    name = os.path.basename(path)
    if name == "broken.apr":
        raise FormatError(path, 4, "the version is 9, it must be 2")
    return FAKES.get(name, FakeClassifier)()


@pytest.fixture
def models_folder(tmp_path):
    for name in ("abc.apr", "other.apr", "broken.apr", "overflowing.apr", "story.gguf", "notes.txt"):
        (tmp_path / name).write_bytes(b"12345")
    return tmp_path


@pytest.fixture
def log_lines() -> list[dict[str, object]]:
    return []


@pytest.fixture
def application(models_folder, log_lines) -> Application:
    registry = Registry(str(models_folder), load=load_fake, summarise=lambda path: {"size_bytes": 5})
    settings = Settings(models_dir=str(models_folder), default_model="abc")
    return Application(settings, registry, kernels=lambda: "fake_isa", log=log_lines.append)


@pytest.fixture
def handler(application):
    return make_event_handler(application)
