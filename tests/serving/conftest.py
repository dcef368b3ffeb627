"""An application over fake models in real (empty) files, and a handler over it."""

from __future__ import annotations

import pytest
from serving.fake_models import fill, make_application

from realizar_lambda.serving.application import Application
from realizar_lambda.serving.lambda_handler import make_event_handler


@pytest.fixture
def models_folder(tmp_path):
    return fill(tmp_path)


@pytest.fixture
def log_lines() -> list[dict[str, object]]:
    return []


@pytest.fixture
def application(models_folder, log_lines) -> Application:
    return make_application(models_folder, log_lines.append)


@pytest.fixture
def handler(application):
    return make_event_handler(application)


@pytest.fixture(scope="module")
def shared_handler(tmp_path_factory):
    """One handler for many generated events."""
    return make_event_handler(make_application(fill(tmp_path_factory.mktemp("models")), lambda line: None))
