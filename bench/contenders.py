"""Who is started cold: our handler, an empty one, the peers on the same weights. It does not time them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from demo import story
from demo.digits import Digit
from lambda_emulator.entries import entry_command
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.package import Package
from lambda_emulator.phases import ROOT
from lambda_emulator.records import Invocation

MODEL = ROOT / "models" / "mnist_mlp.apr"
PEERS = ROOT / "bench" / "peers"
PREDICT, GENERATE = "handlers.predict.handler", "handlers.generate.handler"
TEXT_MODEL = {"REALIZAR_MODEL": story.MODEL}
_TOLERANCE = 1e-4


class WrongAnswerError(RuntimeError):
    """A contender's answer is not the right one, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One handler: what the tables call it, where it lies, whose interpreter runs it, what it must import, what starts
    it; `is_text`: it is asked for a token and not for a class."""

    name: str
    title: str
    handler: str
    cwd: Path
    packages: tuple[str, ...] = ()
    is_peer: bool = False
    is_empty: bool = False
    entry: str = "awslambdaric"
    is_text: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


CONTENDERS = (
    Contender("empty", "empty handler", "empty.handler", ROOT / "lambda_emulator" / "baseline", is_empty=True),
    Contender("realizar", "realizar-lambda, our loop", PREDICT, ROOT, entry="loop"),
    Contender("realizar_client", "realizar-lambda, awslambdaric", PREDICT, ROOT),
    Contender("generate", "first token, our loop", GENERATE, ROOT, entry="loop", is_text=True, env=TEXT_MODEL),
    Contender("generate_client", "first token, awslambdaric", GENERATE, ROOT, is_text=True, env=TEXT_MODEL),
    Contender("numpy", "NumPy", "numpy_mlp.handler", PEERS, ("numpy",), is_peer=True),
    Contender("onnxruntime", "ONNX Runtime", "onnxruntime_mlp.handler", PEERS, ("onnxruntime",), is_peer=True),
    Contender("torch", "PyTorch", "torch_mlp.handler", PEERS, ("torch",), is_peer=True),
)
"""In the order of the tables. Peers run on the interpreter that has them, behind `awslambdaric`; the others where
`packaged` puts them."""


def can_import(python: str, modules: Iterable[str]) -> bool:
    """Whether an interpreter finds every module; none is imported."""
    code = "import sys; from importlib.util import find_spec; sys.exit(any(find_spec(m) is None for m in sys.argv[1:]))"
    return subprocess.run([python, "-c", code, *modules], cwd=ROOT, check=False).returncode == 0


def available(peer_python: str = sys.executable) -> list[Contender]:
    """The contenders that can run here."""
    found = []
    for contender in CONTENDERS:
        python = peer_python if contender.is_peer else sys.executable
        if can_import(python, ("awslambdaric", *contender.packages)):
            found.append(contender)
    return found


def write_peer_models(model: Path, folder: Path, *, python: str) -> None:
    """The model's weights in every format that an installed peer reads."""
    subprocess.run([python, "-m", "bench.peer_models", str(model), str(folder)], cwd=ROOT, check=True)


def packaged(contenders: Iterable[Contender], package: Package) -> list[Contender]:
    """The contenders, those that are ours and the empty one in the package's folder."""
    return [contender if contender.is_peer else replace(contender, cwd=package.folder) for contender in contenders]


def command_of(contender: Contender, python: str) -> list[str]:
    """The command line that starts a contender."""
    return entry_command(contender.entry, python, contender.handler)


def event_for(contender: Contender, digit: Digit) -> dict[str, object]:
    """What a contender is sent."""
    return story.generate_event(1) if contender.is_text else predict_event(digit)


def predict_event(digit: Digit) -> dict[str, object]:
    """The event of a class: an HTTP API's, features as JSON numbers."""
    return api_gateway_v2(
        "POST", "/predict", {"features": list(digit.pixels), "options": {"return_probabilities": True}}
    )


def check_answer(contender: Contender, result: Invocation, expected: list[float] | None, logs: str) -> list[float]:
    """The probabilities in a contender's answer, compared with `expected` where there is something to expect.

    An empty handler has none. Raises WrongAnswerError.
    """
    if result.is_error:
        raise WrongAnswerError(f"{contender.title} failed: {result.raw[:500]!r}\n{logs[-2000:]}")
    payload = result.payload
    if not isinstance(payload, dict) or payload.get("statusCode") != 200:
        raise WrongAnswerError(f"{contender.title} answered {result.raw[:500]!r}")
    if contender.is_empty:
        return []
    if contender.is_text:
        told = story.story_of(result)
        if told.fault or told.n_generated != 1:
            raise WrongAnswerError(f"{contender.title} answered {result.raw[:500]!r}")
        return []
    found = [float(value) for value in json.loads(payload["body"])["probabilities"]]
    if expected is not None:
        pairs = zip(found, expected, strict=True)
        if not all(math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in pairs):
            raise WrongAnswerError(f"{contender.title} answered {found}, the others {expected}")
    return found
