"""The Lambda entry point: it exists under the name that the template states, and answers every event in events/."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
EVENTS = sorted((ROOT / "events").glob("*.json"))


def test_the_handler_is_a_function_of_event_and_context():
    from handlers.predict import handler

    assert handler({"action": "metrics"}, None).startswith("# HELP realizar_requests_total")


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_every_sample_event_is_answered(path):
    from handlers.predict import handler

    answer = handler(json.loads(path.read_text()), None)
    assert answer.get("statusCode", 200) == 200
