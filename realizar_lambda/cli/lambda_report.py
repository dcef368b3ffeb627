"""`realizar-lambda lambda-report LOGFILE`: cold starts and durations of deployed functions, from their REPORT lines.

It reads what CloudWatch Logs holds, however it was exported: text of `aws logs tail`, JSON of `aws logs
filter-log-events`, CSV of Logs Insights, and the `platform.report` records of functions that log JSON. It knows no
model and asks no service. Times are Lambda's own, in milliseconds, memory is in MB.
"""

from __future__ import annotations

import argparse
import json
import math
import mmap
import os
import re
import sys
from collections import namedtuple

from realizar_lambda.cli.terminal import columns
from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Report = namedtuple("Report", "request_id duration_ms billed_ms memory_mb peak_mb init_ms restore_ms is_failed")
"""One invocation. `init_ms` is None where the environment was warm, `restore_ms` where no snapshot was restored."""

_LONGEST = 1024
_START = re.compile(
    rb'REPORT RequestId: ([0-9A-Za-z-]{1,64})|\\?"type\\?"\s{0,4}:\s{0,4}\\?"platform\.report\\?"', re.ASCII
)
_TEXT_END = re.compile(rb'[\r\n"]|\\n|START RequestId|END RequestId')
_TEXT_FIELD = re.compile(
    rb"(Billed Restore Duration|Restore Duration|Billed Duration|Init Duration|Duration|Memory Size|Max Memory Used)"
    rb": ([0-9]{1,12}(?:\.[0-9]{1,6})?) (?:ms|MB)"
)
_TEXT_STATUS = re.compile(rb"Status: (?!success)[a-z]")
_JSON_FIELD = re.compile(
    rb'\\?"(durationMs|billedDurationMs|memorySizeMB|maxMemoryUsedMB|initDurationMs|restoreDurationMs)\\?"'
    rb"\s{0,4}:\s{0,4}([0-9]{1,12}(?:\.[0-9]{1,6})?)"
)
_JSON_END = re.compile(rb'[\r\n]|"type\\?"')
_JSON_ID = re.compile(rb'\\?"requestId\\?"\s{0,4}:\s{0,4}\\?"([0-9A-Za-z-]{1,64})')
_JSON_STATUS = re.compile(rb'\\?"status\\?"\s{0,4}:\s{0,4}\\?"(?!success)[a-z]')

_TEXT_NAMES = ("Duration", "Billed Duration", "Memory Size", "Max Memory Used", "Init Duration", "Restore Duration")
_JSON_NAMES = (
    "durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs", "restoreDurationMs",
)  # fmt: skip
_N_NEEDED = 4
"""The first of these names are in every report; the others only in those of cold starts."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("logfile", metavar="LOGFILE", help="an export of the function's log group (- is stdin)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every sample")


def run(arguments: argparse.Namespace) -> int:
    reports = read_reports(arguments.logfile)
    if not reports:
        raise RequestError(
            422, f"{arguments.logfile} must have REPORT lines or platform.report records, it has none", "logfile"
        )
    groups = by_memory(reports)
    if arguments.json:
        print(json.dumps({"functions": [described(memory, group) for memory, group in groups]}, allow_nan=False))
    else:
        print("\n".join(table(groups)))
    return 0


def read_reports(path: str) -> list[Report]:
    """Every report in the file at `path`, in its order; one that an export holds twice counts once."""
    if path == "-":
        return _unique(find_reports(sys.stdin.buffer.read()))
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _unique(find_reports(content))


def find_reports(content: bytes | mmap.mmap) -> Iterator[Report]:
    """The reports in a log's bytes. Lines that only begin like a report are passed over."""
    for start in _START.finditer(content):
        rest = content[start.end() : start.end() + _LONGEST]
        end = (_TEXT_END if start[1] else _JSON_END).search(rest)
        text = rest[: end.start()] if end else rest
        identity = start[1] or next((match[1] for match in _JSON_ID.finditer(text)), None)
        found = _report(identity, text, is_text=bool(start[1])) if identity else None
        if found is not None:
            yield found


def _report(request_id: bytes, text: bytes, *, is_text: bool) -> Report | None:
    field, status, names = (
        (_TEXT_FIELD, _TEXT_STATUS, _TEXT_NAMES) if is_text else (_JSON_FIELD, _JSON_STATUS, _JSON_NAMES)
    )
    values = {match[1].decode(): float(match[2]) for match in field.finditer(text)}
    if any(name not in values for name in names[:_N_NEEDED]):
        return None
    return Report._make([request_id.decode(), *map(values.get, names), status.search(text) is not None])


def _unique(reports: Iterable[Report]) -> list[Report]:
    return list(dict.fromkeys(reports))


def by_memory(reports: Iterable[Report]) -> list[tuple[int, list[Report]]]:
    """The reports of each memory size, smallest first: a function's CPU share follows its memory."""
    groups: dict[int, list[Report]] = {}
    for report in reports:
        groups.setdefault(int(report.memory_mb), []).append(report)
    return sorted(groups.items())


def samples(group: Sequence[Report]) -> dict[str, list[float]]:
    """What is told of a group. `init` is the init or the restore of cold starts; `first` their first answer's
    duration; `cold` both together; `warm` the duration of all other invocations."""
    cold = [report for report in group if _init_ms(report) is not None]
    return {
        "init_ms": [_init_ms(report) or 0.0 for report in cold],
        "first_ms": [report.duration_ms for report in cold],
        "cold_ms": [(_init_ms(report) or 0.0) + report.duration_ms for report in cold],
        "warm_ms": [report.duration_ms for report in group if _init_ms(report) is None],
    }


def _init_ms(report: Report) -> float | None:
    init: float | None = report.init_ms if report.restore_ms is None else report.restore_ms
    return init


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which `part` (0 to 1) of `values` (at least one) lie, interpolated between neighbours."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Two of the values that hold the true median between them with 95 % confidence; None for fewer than six.

    Between the k-th smallest and the k-th largest it lies unless fewer than k of n fair coins fall the same way.
    From 1,000 values on the coins' normal approximation is used.
    """
    n = len(values)
    if n < 6:
        return None
    ordered = sorted(values)
    if n >= 1000:
        k = max(1, math.floor(n / 2 - 0.98 * math.sqrt(n)))
    else:
        k, tail = 0, 0
        while (tail + math.comb(n, k)) * 40 <= 1 << n:
            tail += math.comb(n, k)
            k += 1
    return ordered[k - 1], ordered[n - k]


def described(memory_mb: int, group: Sequence[Report]) -> dict[str, object]:
    """What `--json` prints of one memory size."""
    measures = {}
    for name, values in samples(group).items():
        interval = median_interval(values)
        measures[name] = {
            "n": len(values),
            "median": percentile(values, 0.5) if values else None,
            "median_interval": list(interval) if interval else None,
            "p95": percentile(values, 0.95) if values else None,
            "samples": values,
        }
    return {
        "memory_mb": memory_mb,
        "n_invocations": len(group),
        "n_failed": sum(report.is_failed for report in group),
        "peak_mb": max(report.peak_mb for report in group),
        "billed_ms": sum(report.billed_ms for report in group),
        **measures,
    }


_MEASURES = (("init_ms", "init"), ("first_ms", "first answer"), ("cold_ms", "cold start"), ("warm_ms", "warm"))


def table(groups: Sequence[tuple[int, Sequence[Report]]]) -> list[str]:
    """The lines that people read: per memory size a line, then its times."""
    lines = []
    for memory_mb, group in groups:
        n_failed = sum(report.is_failed for report in group)
        peak = max(report.peak_mb for report in group)
        billed_seconds = sum(report.billed_ms for report in group) / 1000
        lines.append(
            f"{memory_mb:,} MB: {len(group):,} invocations, {n_failed:,} failed, at most {peak:,.0f} MB used, "
            f"{billed_seconds:,.1f} s billed"
        )
        rows = [("ms", "n", "median", "95 % interval", "p95", "most")]
        for name, title in _MEASURES:
            values = samples(group)[name]
            if values:
                interval = median_interval(values)
                rows.append(
                    (
                        title,
                        f"{len(values):,}",
                        f"{percentile(values, 0.5):,.2f}",
                        f"{interval[0]:,.2f} to {interval[1]:,.2f}" if interval else "too few",
                        f"{percentile(values, 0.95):,.2f}",
                        f"{max(values):,.2f}",
                    )
                )
        lines += columns(rows, right=(1, 2, 3, 4, 5))
    return lines
