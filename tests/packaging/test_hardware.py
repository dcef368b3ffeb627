"""The image on other CPUs than this machine's, under qemu-user: an x86_64 one with AVX2 alone, and arm64."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from demo.digits import read_digits
from lambda_emulator.container import ContainerFunction, entry_of
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.interface_emulator import find_interface_emulator

MODELS = ("iris", "mnist_mlp", "mnist_mlp-q8_0", "cifar10_mlp")

ANSWER = """
import sys
sys.path.insert(0, sys.argv[1])
import realizar_lambda
for name in sys.argv[2:]:
    model = realizar_lambda.load(f"{sys.argv[1]}/models/{name}.apr")
    for row in range(2):
        print(name, *model.predict([(7 * i * i + row) % 256 for i in range(model.n_inputs)]).probabilities)
"""

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def task(engine: str, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's /var/task, on this machine."""
    folder = tmp_path_factory.mktemp("image")
    name = subprocess.check_output((engine, "create", image), text=True).strip()
    try:
        subprocess.run((engine, "cp", f"{name}:/var/task", str(folder)), capture_output=True, check=True)
    finally:
        subprocess.run((engine, "rm", "-f", name), capture_output=True, check=True)
    return folder / "task"


@pytest.fixture(scope="module")
def emulator() -> str:
    found = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if found is None:
        pytest.skip("no qemu-x86_64: install qemu-user")
    return found


def answers(task: Path, isa: str, *before: str) -> subprocess.CompletedProcess[str]:
    command = (*before, os.path.realpath(sys.executable), "-B", "-c", ANSWER, str(task), *MODELS)
    environment = {"PATH": os.environ["PATH"], "REALIZAR_ISA": isa, "REALIZAR_THREADS": "1"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_images_least_library_answers_the_same_on_an_emulated_haswell(task: Path, emulator: str) -> None:
    here = answers(task, "x86_64_v3")
    there = answers(task, "x86_64_v3", emulator, "-cpu", "Haswell")
    assert (here.returncode, there.returncode) == (0, 0), here.stderr + there.stderr
    assert len(here.stdout.splitlines()) == 2 * len(MODELS)
    assert there.stdout == here.stdout


def test_that_haswell_has_no_avx_512_and_so_the_emulation_is_one(task: Path, emulator: str) -> None:
    found = answers(task, "x86_64_v4", emulator, "-cpu", "Haswell")
    assert found.returncode != 0
    assert "Illegal instruction" in found.stderr or "is not supported" in found.stderr


ROOT = Path(__file__).resolve().parent.parent.parent
ARM64_ROOT = ROOT / ".venv" / "arm64" / "root"
"""The system that `make arm64-python` unpacks."""


def image_archive(root: Path, name: str) -> bytes:
    """A folder as an image for arm64, for `docker load`: one layer, whose bytes depend on the files alone."""
    settled = ("--sort=name", "--mtime=@0", "--owner=0", "--group=0")
    layer = subprocess.check_output(("tar", "-C", str(root), *settled, "-c", "."))
    config = {
        "architecture": "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        for file, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", layer),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(file)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return found.getvalue()


@pytest.fixture(scope="module")
def arm64_image(engine: str, base_image: str | None) -> str:
    """The function's image for arm64, which this machine cross-compiles, on a base image of the unpacked system."""
    if not (ARM64_ROOT / "usr" / "bin" / "python3").exists():
        pytest.skip("no arm64 system for a base image: `make arm64-python` unpacks one")
    base, name = "local/python:arm64", "realizar-lambda:tested-arm64"
    subprocess.run((engine, "load"), input=image_archive(ARM64_ROOT, base), capture_output=True, check=True)
    named = {"ARCHITECTURE": "arm64", "BASE_IMAGE": base, **({"BUILD_IMAGE": base_image} if base_image else {})}
    arguments = [word for key, value in named.items() for word in ("--build-arg", f"{key}={value}")]
    if subprocess.run((engine, "buildx", "version"), capture_output=True, check=False).returncode == 0:
        arguments += ["--platform", "linux/arm64"]
    command = (engine, "build", "-f", "Dockerfile.lambda", *arguments, "-t", name, ".")
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return name


@pytest.fixture(scope="module")
def arm64_emulator() -> Path:
    """One that needs no library of this machine, since it runs inside the container."""
    found = shutil.which("qemu-aarch64-static")
    if found is None:
        pytest.skip("no qemu-aarch64-static: install qemu-user-static")
    if find_interface_emulator() is None:
        pytest.skip("no Runtime Interface Emulator: install aws-sam-cli")
    return Path(found)


def arm64_function(image: str, emulator: Path, kind: str) -> ContainerFunction:
    """The image's own entry point behind the Runtime Interface Emulator, on an emulated Neoverse N1."""
    python, *arguments = entry_of(image)
    return ContainerFunction(
        f"handlers.{kind}.handler",
        image=image,
        memory_mb=512,
        env={"QEMU_CPU": "neoverse-n1"},
        entry=("/qemu", f"/usr/bin/{python}", *arguments),
        volumes=((emulator, "/qemu", "ro"),),
    )


def test_an_arm64_image_predicts_behind_the_runtime_loop(arm64_image: str, arm64_emulator: Path) -> None:
    digit = read_digits()[0]
    with arm64_function(arm64_image, arm64_emulator, "predict") as function:
        answer = function.invoke(api_gateway_v2("POST", "/predict", {"features": list(digit.pixels)}))
        libraries = {path.rpartition("/")[2] for path in function.mapped_files() if "/_native/" in path}
    assert not answer.is_error, answer.raw
    assert json.loads(answer.payload["body"])["prediction"] == digit.label
    assert libraries == {"aarch64.so"}


def test_an_arm64_image_tells_the_story_that_is_told_here(arm64_image: str, arm64_emulator: Path) -> None:
    import realizar_lambda

    here = realizar_lambda.load(ROOT / "models" / "stories-q4_k.gguf").generate(  # type: ignore[union-attr]
        "Once upon a time", max_tokens=20, temperature=0.0
    )
    sent = {"model_id": "stories-q4_k", "prompt": "Once upon a time", "max_tokens": 20, "strategy": "greedy"}
    with arm64_function(arm64_image, arm64_emulator, "generate") as function:
        answer = function.invoke(api_gateway_v2("POST", "/generate", sent))
    assert not answer.is_error, answer.raw
    assert json.loads(answer.payload["body"])["text"] == here.text
