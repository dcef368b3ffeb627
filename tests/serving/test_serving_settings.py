"""Settings from the environment: defaults, limits, and what a wrong value says."""

from __future__ import annotations

import os

import pytest

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.serving.settings import Settings


def test_an_empty_environment_gives_the_documented_defaults():
    settings = Settings.from_env({})
    assert settings.default_model == ""
    assert settings.max_body_bytes == 1 << 20
    assert settings.max_json_depth == 32
    assert settings.max_batch == 32
    assert settings.max_tokens == 4096
    assert settings.reserve_seconds == 0.5
    assert settings.share_prefixes == "none"
    assert settings.max_model_bytes is None
    assert settings.huge_pages is False
    assert settings.base_path == ""
    assert settings.metrics_namespace == ""
    assert settings.streamed_sources == ()
    assert os.path.basename(settings.models_dir) == "models"


def test_lambda_says_where_the_code_is_and_how_much_memory_there_is(tmp_path):
    (tmp_path / "models").mkdir()
    environ = {"LAMBDA_TASK_ROOT": str(tmp_path), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}
    settings = Settings.from_env(environ)
    assert settings.models_dir == str(tmp_path / "models")
    assert settings.max_model_bytes == 128 << 20


def test_every_variable_sets_its_setting():
    settings = Settings.from_env(
        {
            "REALIZAR_MODELS_DIR": "/opt/models",
            "REALIZAR_MODEL": "iris",
            "REALIZAR_HUGE_PAGES": "on",
            "REALIZAR_MAX_MODEL_BYTES": "1000",
            "REALIZAR_MAX_BODY_BYTES": "6291456",
            "REALIZAR_MAX_JSON_DEPTH": "8",
            "REALIZAR_MAX_BATCH": "64",
            "REALIZAR_MAX_TOKENS": "128",
            "REALIZAR_RESERVE_MS": "250",
            "REALIZAR_SHARE_PREFIXES": "caller",
            "REALIZAR_BASE_PATH": "ml/",
            "REALIZAR_METRICS_NAMESPACE": "realizar",
            "REALIZAR_STREAM": "api_gateway_v1, function_url",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        }
    )
    found = {name: getattr(settings, name) for name in Settings.__slots__}
    assert found == {
        "models_dir": "/opt/models",
        "default_model": "iris",
        "huge_pages": True,
        "max_model_bytes": 1000,
        "max_body_bytes": 6291456,
        "max_json_depth": 8,
        "max_batch": 64,
        "max_tokens": 128,
        "reserve_seconds": 0.25,
        "share_prefixes": "caller",
        "base_path": "/ml",
        "metrics_namespace": "realizar",
        "streamed_sources": ("api_gateway_v1", "function_url"),
    }


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("REALIZAR_MAX_BODY_BYTES", "6291457", "1 to 6291456"),
        ("REALIZAR_MAX_BODY_BYTES", "0", "1 to 6291456"),
        ("REALIZAR_MAX_BODY_BYTES", "1MB", "1 to 6291456"),
        ("REALIZAR_MAX_BATCH", "-1", "1 to 4096"),
        ("REALIZAR_MAX_TOKENS", "0", "1 to 16777216"),
        ("REALIZAR_RESERVE_MS", "0.5", "0 to 600000"),
        ("REALIZAR_SHARE_PREFIXES", "some", "one of none, caller, all"),
        ("REALIZAR_HUGE_PAGES", "yes", "one of off, on"),
        ("REALIZAR_STREAM", "function_url,alb", "some of function_url, api_gateway_v1"),
        ("REALIZAR_MAX_BATCH", "٣", "1 to 4096"),
        ("REALIZAR_MAX_JSON_DEPTH", "1", "2 to 256"),
        ("REALIZAR_MAX_MODEL_BYTES", "9" * 5000, "an integer from 1"),
    ],
)
def test_a_wrong_value_is_refused_with_the_variable_and_what_it_may_be(name, value, allowed):
    with pytest.raises(UnsupportedError) as caught:
        Settings.from_env({name: value})
    assert name in str(caught.value)
    assert allowed in str(caught.value)
    assert len(str(caught.value)) < 250
