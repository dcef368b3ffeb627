"""docs/http-api.md says what the tables say: routes, settings, metric series, error codes, sources."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from realizar_lambda.serving.exposition import DURATION, SERIES
from realizar_lambda.serving.failures import STATUS_AND_CODE
from realizar_lambda.serving.routes import ROUTES
from realizar_lambda.serving.routes.generate import GENERATE_FIELDS
from realizar_lambda.serving.routes.tokenize import TOKENIZE_FIELDS
from realizar_lambda.serving.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_is_in_the_table(page, route):
    assert f"| {route.method} {route.path} | `{route.action}` |" in page


@pytest.mark.parametrize(("name", "field"), [*GENERATE_FIELDS.items(), *TOKENIZE_FIELDS.items()])
def test_every_field_of_the_text_routes_is_in_a_table_with_its_default(page, name, field):
    rows = [line for line in page.splitlines() if line.startswith("| ") and f"`{name}`" in line.split(" | ")[0]]
    cells = [row.split(" | ")[1].strip('`"') for row in rows if row.count(" | ") > 1]
    assert cells, f"no row for {name}"
    if field.is_required:
        assert "required" in cells
    elif field.default:
        assert json.dumps(field.default).strip('"') in cells


def test_every_setting_is_named(page):
    variables = set(re.findall(r"\| `\w+` \| (REALIZAR_\w+) \|", Settings.__doc__))
    assert len(variables) == len(Settings.__slots__)
    assert variables == set(re.findall(r"^\| `(REALIZAR_\w+)` \|", page, re.MULTILINE))


def test_every_series_is_named(page):
    for name in [*(name for name, *_ in SERIES), DURATION]:
        assert f"`{name}" in page


def test_every_error_code_is_named_under_its_status(page):
    for _, status, code in STATUS_AND_CODE:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {status} |")]
        assert f"`{code}`" in row
