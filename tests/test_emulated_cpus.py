"""What other CPUs answer, under qemu-user: the same text and the same choices, or our refusal and never a signal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from realizar_lambda import native
from realizar_lambda.kernels import build

ROOT = Path(native.__file__).resolve().parent.parent
ARM64_PYTHON = Path(os.environ.get("REALIZAR_ARM64_PYTHON") or ROOT / ".venv" / "arm64" / "python")

ANSWER = """
import sys
import realizar_lambda
from realizar_lambda.native import library
print(library().isa)
for name in ("stories", "stories-q4_k"):
    llm = realizar_lambda.load(f"models/{name}.gguf")
    print(llm.generate("Once upon a time", max_tokens=60, temperature=0.0).text)
for path in sys.argv[1:]:
    llm = realizar_lambda.load(path)
    for seed in range(4):
        print(llm.generate("Lily wanted", max_tokens=60, temperature=0.9, top_p=0.95, seed=seed).text)
for name in ("iris", "mnist_mlp", "mnist_mlp-q8_0", "cifar10_mlp"):
    model = realizar_lambda.load(f"models/{name}.apr")
    for row in range(2):
        found = model.predict([(7 * i * i + row) % 256 for i in range(model.n_inputs)])
        print(name, found.label, *(f"{p:.4f}" for p in found.probabilities))
"""
"""Greedy text from Q8_0 and Q4_K weights, drawn text from F32 ones, and predictions: two threads each.

Logits differ in their last bits between instruction sets; no draw of these seeds is that close to a border. Where
activations are quantised, a code may differ too, and with it a draw.
"""

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the emulated CPUs are compared with an x86_64 one"),
]


def run(command: tuple[str, ...], *models: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process with the script, away from what the tests' own process was told."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REALIZAR", "PYTHON"))}
    settings = {**kept, "PYTHONPATH": str(ROOT), "REALIZAR_THREADS": "2", **environment}
    return subprocess.run(
        (*command, "-c", ANSWER, *models),
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="module")
def drawn(data_dir: Path) -> str:
    """A model of plain f32 weights."""
    return str(data_dir / "models" / "stories260K" / "derived" / "stories260K-f32.gguf")


@pytest.fixture(scope="module")
def here(drawn: str) -> list[str]:
    """The lines that this machine's CPU answers with the least library."""
    result = run((sys.executable,), drawn, REALIZAR_ISA="x86_64_v3")
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def x86(cpu: str) -> tuple[str, ...]:
    emulator = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
    if emulator is None:
        pytest.skip("no qemu-x86_64: install qemu-user")
    return emulator, "-cpu", cpu, os.path.realpath(sys.executable)


def arm64() -> tuple[str, ...]:
    if not ARM64_PYTHON.exists():
        pytest.skip(f"no {ARM64_PYTHON}: `make arm64-python` makes it")
    if not build.is_current(Path(native.FOLDER), ["aarch64"]):
        pytest.skip("no aarch64.so of these sources: `make kernels-arm64`")
    return (str(ARM64_PYTHON),)


def test_a_cpu_with_avx2_alone_takes_the_least_library_and_answers_the_same(here: list[str], drawn: str) -> None:
    result = run(x86("Haswell"), drawn)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == here
    assert here[0] == "x86_64_v3"


def test_a_cpu_with_avx2_alone_refuses_the_library_that_wants_avx_512() -> None:
    result = run(x86("Haswell"), REALIZAR_ISA="x86_64_v4")
    assert result.returncode == 1
    assert "UnsupportedError: this CPU, which lacks avx512f" in result.stderr


@pytest.mark.parametrize("cpu", ["Nehalem", "SandyBridge", "IvyBridge"])
def test_a_cpu_without_avx2_is_refused_in_words_and_ends_by_no_signal(cpu: str) -> None:
    result = run(x86(cpu))
    assert result.returncode == 1
    assert "UnsupportedError: this CPU, which lacks avx2, fma, " in result.stderr


def test_an_arm64_cpu_writes_the_same_text_and_predicts_the_same(here: list[str], drawn: str) -> None:
    result = run(arm64(), drawn)
    assert result.returncode == 0, result.stderr
    isa, *found = result.stdout.splitlines()
    assert isa == "aarch64"
    assert found == here[1:]


@pytest.mark.parametrize(("cpu", "missing"), [("cortex-a72", "fphp, asimdhp, asimddp"), ("a64fx", "asimddp")])
def test_an_arm64_cpu_without_dot_products_is_refused_in_words(cpu: str, missing: str) -> None:
    result = run(arm64(), QEMU_ARM64_CPU=cpu)
    assert result.returncode == 1
    assert f"UnsupportedError: this CPU, which lacks {missing} that aarch64 needs" in result.stderr
