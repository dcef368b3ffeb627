from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lambda_emulator.container import entry_of
from lambda_emulator.interface_emulator import find_interface_emulator

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_SHARE_BYTES = 15_000_000
MAX_PEAK_KIB = 64 * 1024
IRIS = {"model_id": "iris", "features": [5.1, 3.5, 1.4, 0.2]}

TEXT = ("generate", "stream", "tokenize", "detokenize")
"""How the names of events begin that the generate function answers."""

POST = """
import sys, urllib.request
url = "http://127.0.0.1:8080/2015-03-31/functions/function/invocations"
sys.stdout.write(urllib.request.urlopen(url, sys.stdin.buffer.read(), timeout=30).read().decode())
"""
"""Sent from inside the container, which has no network."""

pytestmark = pytest.mark.container


class Container:
    """The function behind the interface emulator, in a container as narrow as Lambda makes it, and narrower."""

    def __init__(self, docker: str, name: str) -> None:
        self.docker = docker
        self.name = name

    def run(self, *command: str, sent: str = "") -> str:
        """What a command prints inside the container."""
        full = [self.docker, "exec", "-i", self.name, *command]
        result = subprocess.run(full, input=sent, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def invoke(self, event: str) -> object:
        """One invocation with an event's text."""
        return json.loads(self.run("python3", "-c", POST, sent=event))


@contextlib.contextmanager
def running(
    docker: str, image: str, *flags: str, handler: str = "handlers.predict.handler", entry: Sequence[str] = ()
) -> Iterator[Container]:
    """A container of the image, started as the image says unless `entry` is given."""
    emulator = find_interface_emulator()
    if emulator is None:
        pytest.skip("no Runtime Interface Emulator: install aws-sam-cli")
    name = f"realizar-test-{uuid.uuid4().hex[:12]}"
    mounted = ("-v", f"{emulator}:/emulator:ro", "--entrypoint", "/emulator")
    command = (docker, "run", "-d", "--name", name, *flags, *mounted, image, *(entry or entry_of(image)), handler)
    started = subprocess.run(command, capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    try:
        yield Container(docker, name)
    finally:
        subprocess.run((docker, "rm", "-f", name), capture_output=True, check=True)


NARROW = ("--read-only", "--network", "none", "--user", "12345:54321", "--memory", "128m", "--memory-swap", "128m",
          "--cap-drop", "ALL", "--security-opt", "no-new-privileges")  # fmt: skip


@pytest.fixture(scope="module")
def container(engine: str, image: str) -> Iterator[Container]:
    """Read-only root, no network, an unknown user, 128 MB, no capabilities."""
    with running(engine, image, *NARROW) as found:
        yield found


def body_of(answer: object) -> dict[str, object]:
    """An answer as a direct invocation gives it, out of a proxy response where it is one; text as {"text": it}."""
    if isinstance(answer, str):
        return {"text": answer}
    assert isinstance(answer, dict)
    assert "errorType" not in answer, answer
    if "statusCode" not in answer:
        return answer
    assert answer["statusCode"] == 200, answer
    body = answer["body"]
    text = base64.b64decode(body).decode() if answer.get("isBase64Encoded") else body
    content_type = {name.lower(): value for name, value in headers_of(answer).items()}["content-type"]
    return json.loads(text) if content_type.startswith("application/json") else {"text": text}  # type: ignore[no-any-return]


def headers_of(answer: dict[str, Any]) -> dict[str, str]:
    """A proxy response's headers, whether its source has one value to each or several."""
    several = answer.get("multiValueHeaders") or {}
    return {**{name: values[0] for name, values in several.items()}, **(answer.get("headers") or {})}


EVENTS = sorted((ROOT / "events").glob("*.json"))

CLASSIFYING = sorted(
    path.name
    for path in (ROOT / "events").glob("predict-*.json")
    if "batch" not in path.name and "sqs" not in path.name
)


@pytest.mark.parametrize("event", CLASSIFYING)
def test_the_narrow_container_classifies_every_sources_event(container: Container, event: str) -> None:
    answer = body_of(container.invoke((ROOT / "events" / event).read_text()))
    assert isinstance(answer["prediction"], int)
    if "pixels" not in event:
        assert answer["label"] == "setosa"


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_the_narrow_container_answers_every_event(container: Container, path: Path) -> None:
    body_of(container.invoke(path.read_text()))


def test_the_narrow_container_answers_the_same_as_the_package_here(container: Container) -> None:
    import realizar_lambda

    event = {"action": "predict", **IRIS, "options": {"return_probabilities": True}}
    here = realizar_lambda.load(ROOT / "models" / "iris.apr").predict(IRIS["features"])  # type: ignore[union-attr]
    answer = body_of(container.invoke(json.dumps(event)))
    assert answer["probabilities"] == pytest.approx(here.probabilities, rel=1e-6)


def test_the_container_has_every_listed_model(container: Container) -> None:
    listed = body_of(container.invoke((ROOT / "events" / "models-function-url.json").read_text()))["models"]
    expected = json.loads((ROOT / "models" / "manifest.json").read_text())["models"]
    assert {model["id"] for model in listed} >= set(expected)  # type: ignore[attr-defined]


def test_a_prediction_stays_under_64_mib(container: Container) -> None:
    container.invoke(json.dumps(IRIS))
    script = "for f in /proc/[0-9]*; do tr '\\0' ' ' < $f/cmdline; grep VmHWM $f/status; done"
    lines = container.run("sh", "-c", script).splitlines()
    (peak,) = [line.split()[-2] for line in lines if line.startswith("python3 ") and "handlers.predict" in line]
    assert int(peak) < MAX_PEAK_KIB


def test_a_container_with_the_least_library_predicts(engine: str, image: str) -> None:
    with running(engine, image, *NARROW, "--env", "REALIZAR_ISA=x86_64_v3") as container:
        assert body_of(container.invoke(json.dumps(IRIS)))["label"] == "setosa"
        script = "cat /proc/[0-9]*/maps | grep -o '_native/.*' | sort -u"
        assert container.run("sh", "-c", script).split() == ["_native/x86_64_v3.so"]


def test_the_same_image_answers_as_the_generate_function(engine: str, image: str) -> None:
    with running(engine, image, *NARROW, handler="handlers.generate.handler") as container:
        assert body_of(container.invoke('{"action": "health"}'))["status"]


def test_the_vendors_client_starts_the_image_too(engine: str, image: str) -> None:
    """As an `EntryPoint` of the template's ImageConfig may ask for; its libraries were stripped in packaging."""
    with running(engine, image, *NARROW, entry=("python3", "-m", "awslambdaric")) as container:
        assert body_of(container.invoke(json.dumps(IRIS)))["label"] == "setosa"
        script = "cat /proc/[0-9]*/maps | grep -o 'task/[^/]*client.*so' | sort -u | cut -d. -f1"
        assert container.run("sh", "-c", script).split() == ["task/runtime_client"]


def test_the_narrow_container_generates_text(engine: str, image: str, data_dir: Path) -> None:
    models = data_dir / "models" / "stories260K" / "derived"
    mounted = ("-v", f"{models}:/models:ro", "--env", "REALIZAR_MODELS_DIR=/models")
    with running(engine, image, *NARROW, *mounted, handler="handlers.generate.handler") as container:
        event = {
            "action": "generate",
            "prompt": "Once upon a time",
            "model_id": "stories260K-q4_0",
            "max_tokens": 12,
            "strategy": "greedy",
        }
        answers = [body_of(container.invoke(json.dumps(event))) for _ in range(2)]
    assert isinstance(answers[0]["text"], str)
    assert len(answers[0]["text"]) > 10
    assert answers[0]["text"] == answers[1]["text"]


def output(docker: str, image: str, script: str) -> str:
    command = (docker, "run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", script)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_no_compiler_and_no_library_of_the_build_is_in_the_image(engine: str, image: str) -> None:
    wanted = " -o ".join(f"-name {name!r}" for name in ("numba*", "llvmlite*", "numpy*", "gcc*", "cc", "clang*", "*.c"))
    assert output(engine, image, f"find / -xdev \\( {wanted} \\) -not -path '/proc/*' -path '*/bin/*'") == ""
    assert output(engine, image, f"find /var/task \\( {wanted} \\)") == ""
    assert output(engine, image, "python3 -c 'import numpy' 2>&1 | tail -1") == (
        "ModuleNotFoundError: No module named 'numpy'\n"
    )


def test_a_cold_start_reads_no_source_and_checks_no_bytecode(engine: str, image: str) -> None:
    """`python3 -v` says where each module's code came from, the standard library's included."""
    with running(engine, image, *NARROW, "--env", "PYTHONVERBOSE=1") as container:
        assert body_of(container.invoke(json.dumps(IRIS)))["label"] == "setosa"
        logs = subprocess.run((engine, "logs", container.name), capture_output=True, text=True, check=True)
        lines = (logs.stdout + logs.stderr).splitlines()
        found = {line.split()[-1].strip("'") for line in lines if line.startswith("# code object from ")}
        flags = "import sys; print({path: open(path, 'rb').read(8)[4] for path in sys.stdin.read().split()})"
        read = container.run("python3", "-c", flags, sent="\n".join(found))
    assert {path for path in found if not path.endswith(".pyc")} == set()
    assert any(path.startswith("/var/task/realizar_lambda/") for path in found)
    assert any(not path.startswith("/var/task/") for path in found)
    unchecked = 0b01
    assert {path for path, flag in ast.literal_eval(read).items() if flag != unchecked} == set()


def test_our_share_of_the_image_is_under_15_mb(engine: str, image: str, base_image: str | None) -> None:
    if base_image is None:
        pytest.skip("the base image's size is not known: set REALIZAR_BASE_IMAGE")
    sizes = [
        int(subprocess.check_output((engine, "image", "inspect", "--format", "{{.Size}}", name), text=True))
        for name in (image, base_image)
    ]
    assert sizes[0] - sizes[1] < MAX_SHARE_BYTES


def test_everybody_may_read_what_the_image_adds_and_nobody_else_write(engine: str, image: str) -> None:
    assert output(engine, image, "find /var/task ! -perm -o=r -o -perm /022") == ""


def test_two_builds_make_the_same_layers(engine: str, image: str, base_image: str | None, tmp_path: Path) -> None:
    """The second from files of another date and mode, with one more that is no part of the function: packaging and all
    after it run again. That libraries are compiled to the same bytes is another test's."""
    for name in ("LICENSE", "Dockerfile.lambda", ".dockerignore", "handlers", "models", "packaging", "realizar_lambda"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        path.chmod(0o600)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    (tmp_path / "packaging" / "more.txt").write_text("no part of the function")
    arguments = ["--build-arg", f"BASE_IMAGE={base_image}"] if base_image else []
    name = "realizar-lambda:again"
    command = (engine, "build", "-f", "Dockerfile.lambda", *arguments, "-t", name, ".")
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    layers = [
        json.loads(subprocess.check_output((engine, "image", "inspect", "--format", "{{json .RootFS.Layers}}", one)))
        for one in (image, name)
    ]
    assert len(layers[0]) >= 4
    assert layers[0] == layers[1]


@pytest.fixture(scope="module")
def sam() -> str:
    beside = Path(sys.executable).with_name("sam")
    found = str(beside) if beside.exists() else shutil.which("sam")
    if found is None:
        pytest.skip("no sam: install aws-sam-cli")
    return found


def run_sam(sam: str, *arguments: str, folder: Path = ROOT) -> str:
    command = (sam, *arguments)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False)
    assert result.returncode == 0, result.stdout + result.stderr[-4000:]
    return result.stdout


@pytest.fixture(scope="module")
def built(sam: str, image: str, base_image: str | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that `sam build` wrote."""
    folder = tmp_path_factory.mktemp("sam") / "build"
    parameters = ("--parameter-overrides", f"BaseImage={base_image}") if base_image else ()
    run_sam(sam, "build", "--build-dir", str(folder), *parameters)
    return folder / "template.yaml"


@pytest.mark.parametrize("template", ["template.yaml", "template-zip.yaml"])
def test_the_template_is_valid(sam: str, template: str) -> None:
    found = run_sam(sam, "validate", "--lint", "--region", "us-east-1", "--template", template)
    assert "is a valid SAM Template" in found


@pytest.mark.parametrize(
    "event",
    ["predict-direct", "predict-api-gateway-v1", "predict-api-gateway-v2", "predict-alb", "models-function-url"],
)
def test_sam_local_invoke_answers(sam: str, built: Path, event: str) -> None:
    path = ROOT / "events" / f"{event}.json"
    found = run_sam(
        sam, "local", "invoke", "PredictFunction", "--template", str(built), "--event", str(path), "--skip-pull-image"
    )
    answer = body_of(json.loads(found))
    assert answer["models"] if event.startswith("models") else answer["label"] == "setosa"


@contextlib.contextmanager
def serving(sam: str, built: Path, kind: str) -> Iterator[str]:
    """Where `sam local start-api`, or `start-lambda`, listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = (sam, "local", kind, "--template", str(built), "--port", str(port), "--skip-pull-image",
               "--warm-containers", "LAZY")  # fmt: skip
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 120
        while time.monotonic() < limit and server.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)


@pytest.fixture(scope="module")
def address(sam: str, built: Path) -> Iterator[str]:
    with serving(sam, built, "start-api") as found:
        yield found


@pytest.fixture(scope="module")
def lambda_address(sam: str, built: Path) -> Iterator[str]:
    with serving(sam, built, "start-lambda") as found:
        yield found


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_sam_local_lambda_answers_every_event(lambda_address: str, path: Path) -> None:
    """As `sam local invoke` does, from containers that stay."""
    function = "GenerateFunction" if path.stem.removeprefix("batch-").startswith(TEXT) else "PredictFunction"
    url = f"{lambda_address}/2015-03-31/functions/{function}/invocations"
    with urllib.request.urlopen(url, path.read_bytes(), timeout=60) as answer:
        body_of(json.loads(answer.read()))


def test_sam_local_start_api_answers_curl(address: str) -> None:
    curl = ("curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60")
    health = subprocess.check_output((*curl, f"{address}/health"), text=True)
    assert json.loads(health)["status"]
    sent = ("-H", "content-type: application/json", "-d", json.dumps(IRIS))
    answer = subprocess.check_output((*curl, f"{address}/predict", *sent), text=True)
    assert json.loads(answer)["label"] == "setosa"
