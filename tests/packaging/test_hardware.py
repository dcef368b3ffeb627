from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
