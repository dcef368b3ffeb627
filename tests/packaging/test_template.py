from __future__ import annotations

import re
from pathlib import Path

import pytest
from layout import ARCHITECTURES

from realizar_lambda import native
from realizar_lambda.serving.routes import ROUTES

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = (ROOT / "template.yaml").read_text()
ZIP_TEMPLATE = (ROOT / "template-zip.yaml").read_text()


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


def test_snapshots_are_taken_where_the_switch_says_so_of_whatever_library_the_process_takes() -> None:
    """It is the least, as a test of `native.wanted_isa` has it, unless a variable names another."""
    assert native.ISA_VARIABLE not in ZIP_TEMPLATE
    assert "ApplyOn: !Ref SnapStart" in ZIP_TEMPLATE
    assert "AutoPublishAlias: live" in ZIP_TEMPLATE, "SnapStart works on published versions alone"


@pytest.mark.parametrize("template", [TEMPLATE, ZIP_TEMPLATE], ids=["image", "zip"])
def test_every_function_is_watched_for_errors_throttles_durations_and_inits(template: str) -> None:
    n_functions = template.count("Type: AWS::Serverless::Function")
    for metric in ("Errors", "Throttles", "Duration"):
        assert len(re.findall(rf"MetricName: {metric}\n", template)) == n_functions
    assert len(re.findall(r"Threshold: !Ref SlowInit", template)) == n_functions
    assert template.count("RetentionInDays: !Ref LogRetentionDays") >= n_functions
    assert len(re.findall(r"ProvisionedConcurrentExecutions: ", template)) == n_functions


REPORT = "REPORT RequestId: 3f0c Duration: 12.34 ms Billed Duration: 13 ms Memory Size: 128 MB Max Memory Used: 40 MB "


@pytest.mark.parametrize(
    ("template", "number", "ending", "expected"),
    [
        (TEMPLATE, 0, "Init Duration: 61.50 ms", "61.50"),
        (TEMPLATE, 0, "", None),
        (ZIP_TEMPLATE, 0, "Restore Duration: 310.20 ms Billed Restore Duration: 90 ms", "310.20"),
        (ZIP_TEMPLATE, 0, "Init Duration: 61.50 ms", None),
        (ZIP_TEMPLATE, 1, "Init Duration: 61.50 ms", "61.50"),
    ],
)
def test_the_filter_finds_the_init_time_in_a_report(
    template: str, number: int, ending: str, expected: str | None
) -> None:
    """As CloudWatch matches: a term to a word, those with `=` only that word, `...` the rest."""
    pattern = re.findall(r"\[report=.*?\]", template, re.DOTALL)[number]
    terms = [term.strip() for term in pattern.strip("[]").split(",")]
    words = (REPORT + ending).split()
    found = None
    if len(words) >= len(terms) - 1:
        pairs = list(zip(terms[:-1], words, strict=False))
        if all("=" not in term or term.partition("=")[2].strip('"') == word for term, word in pairs):
            found = {term.partition("=")[0]: word for term, word in pairs}["init_value"]
    assert terms[-1] == "..."
    assert found == expected
