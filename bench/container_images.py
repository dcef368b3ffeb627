"""The images whose cold starts are compared: ours, an empty handler's, a peer's with the packages it needs.

A peer's packages are copied from the interpreter that has them (`--peer-python`): what was built for this CPU stays so,
and nothing is downloaded. It starts no container.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import MODEL, PEERS, can_import, write_peer_models
from lambda_emulator.phases import ROOT

EMPTY = ROOT / "lambda_emulator" / "baseline" / "empty.py"
STORIES = ROOT / "models" / "stories-q4_k.gguf"
OURS = "realizar-lambda:bench"

_FILES = """
import json, re, sys
from importlib.metadata import PackageNotFoundError, distribution
found, waiting = {}, sys.argv[1:]
while waiting:
    name = waiting.pop()
    try:
        package = distribution(name)
    except PackageNotFoundError:
        continue
    if package.name in found:
        continue
    found[package.name] = [[str(file), str(file.locate())] for file in package.files or ()]
    waiting += [re.match(r"[\\w.-]+", line)[0] for line in package.requires or () if "extra ==" not in line]
print(json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Packaged:
    """An image and the handler in it. `packages` are distributions of the peers' interpreter, `modules` what of them
    must be importable there; `kind` is the question that it answers: "empty", "predict" or "generate"."""

    name: str
    title: str
    handler: str
    kind: str
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    system_packages: tuple[str, ...] = ()
    warm: str = ""
    env: tuple[tuple[str, str], ...] = ()
    is_ours: bool = False

    @property
    def volumes(self) -> tuple[tuple[Path, str, str], ...]:
        """What is mounted: the empty handler, which is not in our image."""
        return ((EMPTY, f"/var/task/{EMPTY.name}", "ro"),) if self.is_ours and self.kind == "empty" else ()

    @property
    def image(self) -> str:
        return OURS if self.is_ours else f"realizar-lambda-bench:{self.name}"


_NUMBA = (("NUMBA_CACHE_DIR", "/var/task/cache"),)
_NUMBA_WARM = (
    "import os; os.environ['NUMBA_CACHE_DIR'] = '/var/task/cache'; import json, numba_mlp; "
    "numba_mlp.handler({'body': json.dumps({'features': [0.0] * 784})}, None)"
)

PACKAGED = (
    Packaged("empty", "empty handler", "empty.handler", "empty"),
    Packaged("empty_loop", "empty handler, our loop", "empty.handler", "empty", is_ours=True),
    Packaged("predict", "realizar-lambda, predict", "handlers.predict.handler", "predict", is_ours=True),
    Packaged("generate", "realizar-lambda, generate", "handlers.generate.handler", "generate", is_ours=True),
    Packaged("numpy", "NumPy", "numpy_mlp.handler", "predict", ("numpy",), ("numpy",)),
    Packaged(
        "onnxruntime", "ONNX Runtime", "onnxruntime_mlp.handler", "predict", ("onnxruntime",), ("onnxruntime", "onnx")
    ),
    Packaged("torch", "PyTorch", "torch_mlp.handler", "predict", ("torch", "numpy"), ("torch",)),
    Packaged(
        "numba", "Numba, cached", "numba_mlp.handler", "predict", ("numba",), ("numba",), (), _NUMBA_WARM, _NUMBA
    ),
    Packaged(
        "llama_cpp", "llama-cpp-python", "llama_cpp_story.handler", "generate", ("llama-cpp-python",), ("llama_cpp",),
        ("libgomp1",),
    ),
)  # fmt: skip
"""In the order of the tables. The empty handler and the peers run behind the vendor's client, our image by its loop."""


def available(peer_python: str) -> list[Packaged]:
    """What can be packaged here."""
    return [packaged for packaged in PACKAGED if not packaged.modules or can_import(peer_python, packaged.modules)]


def build(packaged: Sequence[Packaged], *, base_image: str | None, peer_python: str, engine: str = "docker") -> None:
    """Build the images of all of these."""
    chosen = ["--build-arg", f"BASE_IMAGE={base_image}"] if base_image else []
    with tempfile.TemporaryDirectory() as models:
        write_peer_models(MODEL, Path(models), python=peer_python)
        shutil.copy(STORIES, models)
        for one in packaged:
            if one.is_ours:
                _run(engine, "build", "-q", "-f", "Dockerfile.lambda", *chosen, "-t", one.image, ".", folder=ROOT)
                continue
            with tempfile.TemporaryDirectory() as context:
                _write_context(one, Path(context), models=Path(models), python=peer_python)
                named = {"SYSTEM_PACKAGES": " ".join(one.system_packages), "WARM": one.warm}
                given = [word for name, value in named.items() for word in ("--build-arg", f"{name}={value}")]
                _run(engine, "build", "-q", *chosen, *given, "-t", one.image, ".", folder=Path(context))


def added_bytes(packaged: Sequence[Packaged], *, base_image: str | None, engine: str = "docker") -> dict[str, int]:
    """What each image adds to its base image, by contender, and the bytes of the base."""
    base = _size(engine, base_image or _default_base())
    return {"base": base, **{one.name: _size(engine, one.image) - base for one in packaged}}


def _write_context(one: Packaged, context: Path, *, models: Path, python: str) -> None:
    shutil.copy(PEERS / "Dockerfile", context)
    task = context / "task"
    task.mkdir()
    packages = context / "packages"
    packages.mkdir()
    shutil.copy(EMPTY if one.kind == "empty" else PEERS / f"{one.handler.partition('.')[0]}.py", task)
    kept = {"predict": "model.*", "generate": STORIES.name}.get(one.kind)
    for path in sorted(models.glob(kept)) if kept else ():
        if _reads(one, path):
            shutil.copy(path, task)
    for files in _package_files(python, one.packages).values():
        for name, source in files:
            if name.startswith("..") or name.endswith(".pyc") or not Path(source).is_file():
                continue
            (packages / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, packages / name)


def _reads(one: Packaged, path: Path) -> bool:
    """A peer's image holds the model in its own format alone."""
    suffixes = {".npz": ("numpy", "numba"), ".onnx": ("onnxruntime",), ".pt": ("torch",), ".gguf": ("llama_cpp",)}
    return one.name in suffixes.get(path.suffix, ())


def _package_files(python: str, names: Sequence[str]) -> Mapping[str, list[tuple[str, str]]]:
    """{distribution: [(name, path)]} of `names` and all that they need and that is there."""
    done = subprocess.run([python, "-c", _FILES, *names], capture_output=True, text=True, check=True)
    found: dict[str, list[tuple[str, str]]] = json.loads(done.stdout)
    return found


def _default_base() -> str:
    first = next(line for line in (ROOT / "Dockerfile.lambda").read_text().splitlines() if line.startswith("ARG BASE"))
    return first.partition("=")[2]


def _size(engine: str, image: str) -> int:
    command = [engine, "image", "inspect", "--format", "{{.Size}}", image]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{(done.stdout + done.stderr)[-4000:]}")
