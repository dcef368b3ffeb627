"""A fresh process answers a /predict event: what it has imported by then, and what it must not have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = (
    "asyncio",
    "boto3",
    "botocore",
    "concurrent.futures",
    "dataclasses",
    "hashlib",
    "http.client",
    "http.server",
    "importlib.metadata",
    "inspect",
    "llvmlite",
    "numba",
    "numpy",
    "pathlib",
    "typing",
    "urllib.parse",
    "realizar_lambda.kernels",
    "realizar_lambda.quantize",
    "realizar_lambda.cli",
    "realizar_lambda.tokenizers",
)

# Ours on this path, each about 0.1 ms of a cold start: a new one is a decision, not an accident.
MAX_OF_OURS = 36

SCRIPT = """
import json, sys
before = set(sys.modules)
from handlers.predict import handler
event = json.load(sys.stdin)
response = handler(event, None)
modules = sorted(set(sys.modules) - before)
sys.stderr.write(json.dumps({"response": response, "modules": modules}))
"""


@pytest.fixture(scope="module")
def answered(data_dir, tmp_path_factory):
    """What a fresh process answers to a prediction event, and the modules it imported for that."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(data_dir / "apr" / "mnist_784x2.apr", folder)
    event = json.loads((data_dir / "lambda-events" / "apigw-v2-request-no-authorizer.json").read_text())
    event["rawPath"] = "/predict"
    event["requestContext"]["http"]["method"] = "POST"
    event["body"] = json.dumps({"features": [0.5] * 784, "options": {"return_probabilities": True}})
    environ = {"REALIZAR_MODELS_DIR": str(folder), "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=120,
        check=True,
    )
    return json.loads(done.stderr.splitlines()[-1])


def test_the_answer_is_right(answered):
    response = answered["response"]
    assert response["statusCode"] == 200
    body = json.loads(response["body"])
    assert (body["prediction"], body["cold_start"]) == (1, True)
    assert body["probabilities"][1] == pytest.approx(0.900175, abs=1e-6)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_nothing_heavy_was_imported(answered, name):
    found = [module for module in answered["modules"] if module == name or module.startswith(name + ".")]
    assert found == []


def test_few_modules_of_ours_were_imported(answered):
    ours = [module for module in answered["modules"] if module.startswith(("realizar_lambda", "handlers"))]
    assert len(ours) <= MAX_OF_OURS, ours
