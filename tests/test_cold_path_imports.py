"""A fresh process answers one event: what it has imported by then, and what it must not have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from events.make_events import api_gateway_v2

ROOT = Path(__file__).resolve().parent.parent
STORIES = Path("models") / "stories260K" / "derived" / "stories260K-q8_0.gguf"

HEAVY = (
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
    "jinja2",
    "llvmlite",
    "numba",
    "numpy",
    "pathlib",
    "typing",
    "urllib.parse",
    "waitress",
    "realizar_lambda.chat",
    "realizar_lambda.cli",
    "realizar_lambda.kernels",
    "realizar_lambda.quantize",
    "realizar_lambda.registry.summary",
    "realizar_lambda.serving.exposition",
    "realizar_lambda.serving.failures",
    "realizar_lambda.serving.local_server",
)
"""What no request imports that is answered with success."""

# handler: model file, path, body, what else it must not import, and how many modules of ours it may: each is about
# 0.1 ms of a cold start, so a new one is a decision and not an accident
HANDLERS = {
    "predict": (
        Path("apr") / "mnist_784x2.apr",
        "/predict",
        {"features": [0.5] * 784, "options": {"return_probabilities": True}},
        ("realizar_lambda.tokenizers", "realizar_lambda.generation", "realizar_lambda.sampling"),
        42,
    ),
    "generate": (
        STORIES,
        "/generate",
        {"prompt": "Once upon a time", "max_tokens": 1},
        ("realizar_lambda.classification", "realizar_lambda.formats.apr_v2", "realizar_lambda.formats.safetensors"),
        75,
    ),
}

SCRIPT = """
import json, sys
before = set(sys.modules)
from handlers.{name} import handler
event = json.load(sys.stdin)
response = handler(event, None)
modules = sorted(set(sys.modules) - before)
sys.stderr.write(json.dumps({{"response": response, "modules": modules}}))
"""


@pytest.fixture(scope="module", params=HANDLERS)
def answered(request, data_dir, tmp_path_factory):
    """What a fresh process of a handler answers to its event, and the modules it imported for that."""
    file, path, body, forbidden, most = HANDLERS[request.param]
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(data_dir / file, folder)
    environ = {"REALIZAR_MODELS_DIR": str(folder), "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name=request.param)],
        input=json.dumps(api_gateway_v2("POST", path, json.dumps(body))),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environ,
        timeout=120,
        check=True,
    )
    return {**json.loads(done.stderr.splitlines()[-1]), "forbidden": (*HEAVY, *forbidden), "most": most}


def test_the_answer_is_right_and_cold(answered):
    response = answered["response"]
    assert response["statusCode"] == 200
    body = json.loads(response["body"])
    if "prediction" in body:
        assert (body["prediction"], body["cold_start"]) == (1, True)
        assert body["probabilities"][1] == pytest.approx(0.900175, abs=1e-6)
    else:
        assert body["text"] == "Once upon a time,"


def test_nothing_heavy_and_nothing_of_the_other_kind_was_imported(answered):
    forbidden = answered["forbidden"]
    assert [
        module for module in answered["modules"] if any((module + ".").startswith(name + ".") for name in forbidden)
    ] == []


def test_few_modules_of_ours_were_imported(answered):
    ours = [module for module in answered["modules"] if module.startswith(("realizar_lambda", "handlers"))]
    assert len(ours) <= answered["most"], ours
