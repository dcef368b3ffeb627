"""One start of a contender's image in a container: what it is asked and answers, how long that took, what it holds.

It knows no rounds and stores nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.container_images import Packaged
from bench.contenders import PEERS, Contender, WrongAnswerError, check_answer, predict_event
from demo.digits import Digit
from lambda_emulator import probe
from lambda_emulator.container import ContainerFunction, cpu_share, entry_of
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.records import EmulatorError, Invocation

MEASURES = ("total_ms", "init_ms", "first_answer_ms", "peak_mib", "resident_mib")
PHASES = {
    "spawn": "spawn to Python",
    "runtime": "runtime init",
    "handler": "handler import",
    "model": "model load",
    "inference": "first inference",
    "response": "event and response",
}
PROMPT = "Once upon a time"
COMPILERS = ("numba", "llvmlite", "libLLVM")
_MIB = 2**20
_PROCESSES = 2  # the emulator and the runtime


class DoesNotFitError(RuntimeError):
    """A contender gives no answer in this memory."""


def event_of(one: Packaged, digit: Digit) -> dict[str, object]:
    """What a contender is sent."""
    if one.kind == "generate":
        body = {"model_id": "stories-q4_k", "prompt": PROMPT, "max_tokens": 1, "strategy": "greedy"}
        return api_gateway_v2("POST", "/generate", body)
    return predict_event(digit)


def checked(one: Packaged, answer: Invocation, expected: object, logs: str) -> object:
    """What a contender answered, compared with `expected` unless that is None. Raises WrongAnswerError."""
    contender = Contender(one.name, one.title, one.handler, PEERS, is_empty=one.kind == "empty")
    if one.kind != "generate":
        probabilities = expected if isinstance(expected, list) else None
        return check_answer(contender, answer, probabilities, logs) or None
    payload = answer.payload if not answer.is_error else None
    if not isinstance(payload, dict) or payload.get("statusCode") != 200:
        raise WrongAnswerError(f"{one.title} answered {answer.raw[:500]!r}\n{logs[-2000:]}")
    text = str(json.loads(payload["body"])["text"]).removeprefix(PROMPT)  # which not everybody repeats
    if not text or expected not in (None, text):
        raise WrongAnswerError(f"{one.title} went on with {text!r}, expected {expected!r}")
    return text


def groups(chosen: Sequence[Packaged], memory_mb: int, n_cpus: int) -> Iterator[Sequence[Packaged]]:
    """Who starts side by side: as many as take half of the machine together, at least one."""
    n = max(1, int(n_cpus / 2 / cpu_share(memory_mb)))
    for begin in range(0, len(chosen), n):
        yield chosen[begin : begin + n]


def start_together(
    group: Sequence[Packaged], digit: Digit, memory_mb: int
) -> dict[str, tuple[Invocation, dict[str, float], dict[str, Any]]]:
    """One fresh container of each: (answer, measures, what it holds), by contender. Raises DoesNotFitError for the
    first that gives none."""
    with ExitStack() as stack:
        running = {}
        for one in group:
            function = ContainerFunction(
                one.handler, image=one.image, memory_mb=memory_mb, env=dict(one.env), volumes=one.volumes
            )
            stack.enter_context(function)
            running[one.name] = function
        with ThreadPoolExecutor(len(group)) as threads:
            waiting = {one.name: threads.submit(running[one.name].invoke, event_of(one, digit)) for one in group}
            for one in group:
                waiting[one.name].exception()
        return {one.name: _outcome(one, running[one.name], waiting[one.name].result) for one in group}


def _outcome(
    one: Packaged, function: ContainerFunction, result: Callable[[], Invocation]
) -> tuple[Invocation, dict[str, float], dict[str, Any]]:
    n_killed = function.n_killed()
    try:
        answer = result()
    except EmulatorError as error:
        raise DoesNotFitError(f"no answer ({error})") from error
    if n_killed:
        raise DoesNotFitError("killed for memory")
    cold = function.cold_start
    if answer.is_error or cold is None:
        raise DoesNotFitError(f"failed: {answer.raw[:200]!r}")
    measures = {
        "total_ms": cold.total_ms,
        "init_ms": cold.init_ms,
        "first_answer_ms": cold.first_answer_ms,
        "peak_mib": function.peak_group_bytes() / _MIB,
        "resident_mib": function.peak_memory_bytes() / _MIB,
    }
    held = {} if not one.is_ours else what_it_holds(function)
    return answer, measures, held


def what_it_holds(function: ContainerFunction) -> dict[str, Any]:
    """Whether something was compiled: bytecode and other files written, compilers mapped, other processes."""
    written = function.written_files()
    return {
        "bytecode_written": sum(path.endswith(".pyc") for path in written),
        "files_written": len(written),
        "compilers_mapped": sum(any(name in path for name in COMPILERS) for path in function.mapped_files()),
        "other_processes": len(function.processes()) - _PROCESSES,
    }


def phases_once(one: Packaged, digit: Digit, memory_mb: int) -> dict[str, float]:
    """Where the time of one cold start went, in ms; the parts add up to all of it."""
    with tempfile.TemporaryDirectory() as folder:
        volumes = (*one.volumes, (Path(probe.__file__), "/probe.py", "ro"), (Path(folder), "/notes", "rw"))
        function = ContainerFunction(
            one.handler,
            image=one.image,
            memory_mb=memory_mb,
            env=dict(one.env),
            entry=probe.entry(entry_of(one.image), "/probe.py", "/notes/notes.json"),
            volumes=volumes,
        )
        with function:
            answer = function.invoke(event_of(one, digit))
            cold = function.cold_start
            if answer.is_error or cold is None:
                raise EmulatorError(f"{one.title} did not answer under the probe: {answer.raw[:500]!r}")
        notes = json.loads((Path(folder) / "notes.json").read_text())
    model_ns = notes["model_opened_ns"] or notes["handler_ready_ns"]
    marks = (
        cold.start_ns,
        notes["started_ns"],
        notes["runtime_ready_ns"],
        model_ns,
        notes["handler_ready_ns"],
    )
    spawn, runtime, handler, model = ((after - before) / 1e6 for before, after in pairwise(marks))
    inference = (notes["answered_ns"] - notes["called_ns"]) / 1e6
    response = cold.total_ms - spawn - runtime - handler - model - inference
    return dict(zip(PHASES, (spawn, runtime, handler, model, inference, response), strict=True))
