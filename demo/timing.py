"""The demo's cold starts: the handler and an empty one in turn, and a table of both. It knows no digit and no story."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median

from lambda_emulator.entries import entry_command
from lambda_emulator.phases import EMULATORS, Phases, measure_phases
from lambda_emulator.records import EmulatorError

_TITLES = {
    "spawn": "spawn to Python",
    "runtime": "runtime init",
    "handler": "handler init",
    "model": "model load",
    "answer": "first answer",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A handler to start cold: where it lies, what it is asked, its environment besides Lambda's own, and what starts
    it."""

    name: str
    handler: str
    cwd: Path
    event: object
    environment: Mapping[str, str] = field(default_factory=dict)
    entry: str = "loop"


@dataclass(slots=True)
class Times:
    """What fresh processes of one handler took, in ms: totals, then answers when warm, then the phases, and what
    started them."""

    totals: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    phases: list[Phases] = field(default_factory=list)
    runtime: str = ""


RUNTIMES = {"loop": "our loop", "awslambdaric": "awslambdaric"}
"""What the table calls that which starts a handler."""


def empty_handler(event: object, folder: Path) -> Subject:
    """The handler that does nothing, asked the same, behind the vendor's runtime client."""
    return Subject("empty", "empty.handler", folder, event, entry="awslambdaric")


def measure(
    subjects: Sequence[Subject],
    *,
    emulator: str,
    n_starts: int,
    n_phases: int,
    n_warm: int,
    progress: Callable[[str], None],
    python: str = sys.executable,
) -> dict[str, Times]:
    """Start every subject in turn `n_starts` times without the probe and `n_phases` times with it.

    Raises EmulatorError where one does not answer.
    """
    times = {subject.name: Times(runtime=RUNTIMES[subject.entry]) for subject in subjects}
    for number in range(n_starts):
        progress(f"cold starts: {number + 1} of {n_starts} of each")
        for subject in subjects:
            make = EMULATORS[emulator]
            command = entry_command(subject.entry, python, subject.handler)
            with make(subject.handler, cwd=subject.cwd, command=command, env=subject.environment) as function:
                results = [function.invoke(subject.event) for _ in range(1 + n_warm)]
                cold = function.cold_start
                failed = next((result for result in results if result.is_error), None)
                if failed is not None or cold is None:
                    raise EmulatorError(f"{subject.handler} did not answer:\n{function.logs()[-2000:]}")
                times[subject.name].totals.append(cold.total_ms)
                times[subject.name].warm.append(median(result.duration_ms for result in results[1:]))
    for number in range(n_phases):
        progress(f"phases: {number + 1} of {n_phases} of each")
        for subject in subjects:
            phases = measure_phases(
                subject.handler, subject.event, cwd=subject.cwd, env=subject.environment, python=python,
                emulator=emulator, entry=subject.entry,
            )  # fmt: skip
            times[subject.name].phases.append(phases)
    return times


def table(times: dict[str, Times]) -> str:
    """Medians in ms, one column per handler; the first column's handler is what the last line compares with."""
    names = list(times)
    rows = [["ms, median", *names], ["started by", *(times[name].runtime for name in names)]]
    for phase in fields(Phases):
        values = [median(getattr(phases, phase.name) for phases in times[name].phases) for name in names]
        rows.append([_TITLES[phase.name], *(f"{value:.2f}" for value in values)])
    totals = [median(times[name].totals) for name in names]
    rows.append(["cold start, all of it", *(f"{total:.2f}" for total in totals)])
    rows.append(["  against " + names[0], *(f"{total / totals[0]:.2f} x" for total in totals)])
    rows.append(["warm answer", *(f"{median(times[name].warm):.2f}" for name in names)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    lines.insert(2, "-" * len(lines[0]))
    return "\n".join(lines)
