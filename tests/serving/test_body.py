"""The body reader by itself: what is refused, what passes, and that strictness costs no hang."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.body import read_json, read_octets
from realizar_lambda.serving.http import Request
from realizar_lambda.serving.settings import Settings

SETTINGS = Settings()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def request(body, **options) -> Request:
    return Request("POST", "/", body=body, **options)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(value=json_values)
def test_whatever_is_json_is_read_as_the_standard_library_reads_it(value):
    text = json.dumps(value)
    assert read_json(request(text), SETTINGS) == value
    assert read_json(request(text.encode()), SETTINGS) == value


@settings(max_examples=80, deadline=None, derandomize=True)
@given(body=st.text() | st.binary(), is_base64=st.booleans())
def test_any_other_body_is_a_request_error_and_no_other(body, is_base64):
    with contextlib.suppress(RequestError):
        json.dumps(read_json(request(body, is_base64=is_base64), SETTINGS), allow_nan=False)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value, 2, {}] if depth % 2 else {"a": value, "b": []}
    return value


@pytest.mark.parametrize("depth", [0, 1, 31])
def test_nesting_up_to_the_limit_passes(depth):
    assert read_json(request(json.dumps(nested(depth))), SETTINGS) == nested(depth)


@pytest.mark.parametrize("depth", [33, 34, 64])
def test_nesting_past_the_limit_is_refused_in_text_and_in_values(depth):
    parsed = Request.from_value("POST", "/", nested(depth), source="direct", request_id="")
    for asked in (request(json.dumps(nested(depth))), parsed):
        with pytest.raises(RequestError, match="nested at most 32 deep"):
            read_json(asked, SETTINGS)


def test_exactly_32_levels_pass_and_33_do_not():
    assert read_json(request("[" * 32 + "]" * 32), SETTINGS)
    with pytest.raises(RequestError):
        read_json(request("[" * 33 + "]" * 33), SETTINGS)
    wide_and_deep = "[" + "[]," * 40 + "[" * 31 + "]" * 31 + "]"
    assert read_json(request(wide_and_deep), SETTINGS)
    with pytest.raises(RequestError):
        read_json(request("[" + wide_and_deep + "]"), SETTINGS)


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"a":' * 150_000, '"' * 1_000_000, "[{}" * 300_000, "-" * 1_000_000]
)
def test_a_hostile_megabyte_is_refused_quickly(text):
    started = time.perf_counter()
    with pytest.raises(RequestError):
        read_json(request(text), SETTINGS)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("body", [b"\x00\xff", "ab"])
def test_octets_come_as_they_are(body):
    assert read_octets(request(body), SETTINGS) == (body if isinstance(body, bytes) else body.encode())


def test_the_limit_is_the_setting():
    small = Settings(max_body_bytes=10)
    assert read_octets(request(b"0123456789"), small) == b"0123456789"
    with pytest.raises(RequestError, match="at most 10 bytes, got 11") as caught:
        read_octets(request(b"0123456789a"), small)
    assert caught.value.status == 413
    assert read_octets(request("MDEyMzQ1Njc4OQ==", is_base64=True), small) == b"0123456789"
    with pytest.raises(RequestError, match="at most 10 bytes, got 11"):
        read_octets(request("MDEyMzQ1Njc4OWE=", is_base64=True), small)
