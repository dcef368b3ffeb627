"""Results as JSON files in bench/results. It does not know what is in them beyond samples and their summary."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.summary import Summary, summarise

FOLDER = Path(__file__).with_name("results")
_DIGITS = 4


def rounded(samples: Sequence[float]) -> list[float]:
    """Samples as they are stored: to four decimals of their unit."""
    return [round(sample, _DIGITS) for sample in samples]


def rounded_all(samples: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """The same for each of several contenders or measures."""
    return {name: rounded(values) for name, values in samples.items()}


def described(summary: Summary) -> dict[str, object]:
    """A summary as it is stored beside its samples."""
    fields = asdict(summary)
    middle = fields.pop("median")
    return {
        "n": summary.n,
        "min": round(summary.least, _DIGITS),
        "median": round(middle["value"], _DIGITS),
        "median_interval": [round(middle["low"], _DIGITS), round(middle["high"], _DIGITS)],
        "p95": round(summary.p95, _DIGITS),
        "spread": round(summary.spread, _DIGITS),
        "is_unstable": summary.is_unstable,
    }


def summaries(samples: Mapping[str, Sequence[float]]) -> dict[str, object]:
    """The stored summary of each contender's samples."""
    return {name: described(summarise(values)) for name, values in samples.items()}


def write(name: str, result: Mapping[str, object], *, folder: Path = FOLDER) -> Path:
    """Store a result, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(_text(result))
    partial.replace(path)
    return path


def _text(result: Mapping[str, object]) -> str:
    """JSON with a line per field and a line per list of numbers, so that a difference can be read."""
    text = json.dumps(result, indent=1, allow_nan=False)
    return re.sub(r"\[[\s\d.,eE+-]+\]", lambda match: f"[{' '.join(match[0][1:-1].split())}]", text) + "\n"


def read(name: str, *, folder: Path = FOLDER) -> dict[str, object] | None:
    """A stored result, or None where it was never measured."""
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    result: dict[str, object] = json.loads(path.read_text())
    return result
