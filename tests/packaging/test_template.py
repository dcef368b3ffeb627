from __future__ import annotations

import re
from pathlib import Path

import pytest
from layout import ARCHITECTURES

from realizar_lambda.serving.routes import ROUTES

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = (ROOT / "template.yaml").read_text()


def test_every_route_reaches_the_function_that_loads_its_kind_of_model() -> None:
    found = {}
    for function in ("PredictFunction", "GenerateFunction"):
        text = TEMPLATE.split(f"\n  {function}:\n")[1]
        text = re.split(r"\n  \S", text)[0]
        for method, path in re.findall(r"Method: (\w+), Path: (\S+?)}", text):
            assert (method, path) not in found
            found[method, path] = function
    expected = {
        (route.method, route.path): "GenerateFunction" if route.kind == "generate" else "PredictFunction"
        for route in ROUTES
    }
    assert found == expected


def test_no_role_may_do_anything_but_log_and_trace() -> None:
    actions = set(re.findall(r"[a-z0-9]+:[A-Z][A-Za-z]+", "\n".join(re.findall(r"Action: .*", TEMPLATE))))
    assert actions == {
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "lambda:InvokeFunctionUrl",
        "lambda:InvokeFunction",
        "sts:AssumeRole",
    }


def test_the_handlers_that_the_template_names_exist() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    for module, name in re.findall(r"Command: \[(\S+)\.(\w+)\]", TEMPLATE):
        assert f"\n{name} = " in (root / f"{module.replace('.', '/')}.py").read_text()


@pytest.mark.parametrize("name", ["template.yaml", "template-zip.yaml"])
def test_a_function_is_of_the_architecture_that_the_deployer_chooses(name: str) -> None:
    """The default is what is packaged unasked; any other value has kernel libraries too."""
    text = (ROOT / name).read_text()
    parameter = re.split(r"\n  \S", text.split("\n  Architecture:\n")[1])[0]
    assert re.findall(r"Default: (\S+)", parameter) == ["x86_64"]
    (allowed,) = re.findall(r"AllowedValues: \[(.*)\]", parameter)
    assert allowed.split(", ") == list(ARCHITECTURES)
    assert set(re.findall(r"Architectures: (.*)", text)) == {"[!Ref Architecture]"}


def test_the_image_is_built_for_the_architecture_of_its_function() -> None:
    images = TEMPLATE.count("DockerBuildArgs:\n")
    assert TEMPLATE.count("        ARCHITECTURE: !Ref Architecture\n") == images == 2
    assert "\nARG ARCHITECTURE=" in (ROOT / "Dockerfile.lambda").read_text()
