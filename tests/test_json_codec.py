"""JSON by the C code alone: the values and the errors of `json`."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realizar_lambda.json_codec import Decoder, Encoder

ROOT = Path(__file__).resolve().parent.parent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_a_value_is_written_as_json_writes_it_and_read_back(value):
    text = Encoder(allow_nan=True).encode(value)
    assert text == json.dumps(value, separators=(",", ":"))
    assert repr(Decoder().decode(text)) == repr(json.loads(text))


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \t\n\r\\u\x0b\xa0\x00'))
def test_any_text_is_read_or_refused_as_json_does(text):
    def outcome(decode):
        try:
            return repr(decode(text))
        except json.JSONDecodeError as error:
            return (error.msg, error.pos, error.lineno, error.colno)

    assert outcome(Decoder().decode) == outcome(json.JSONDecoder().decode)


def test_pairs_and_constants_are_the_callers_to_read():
    decode = Decoder(object_pairs_hook=tuple, parse_constant=str.upper).decode
    assert decode('{"a": NaN, "a": [-Infinity]}') == (("a", "NAN"), ("a", ["-INFINITY"]))
    assert math.isnan(Decoder().decode("NaN"))


def test_what_cannot_be_written_is_refused():
    encode = Encoder(allow_nan=False).encode
    for value in (math.nan, [math.inf], {"a": -math.inf}):
        with pytest.raises(ValueError, match="Out of range float"):
            encode(value)
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        encode({"a": set()})
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="Circular"):
        encode(cycle)


def test_a_default_replaces_what_json_has_no_type_for():
    assert Encoder(allow_nan=True, default=str).encode({"a": 1j}) == '{"a":"1j"}'


def test_nesting_ends_somewhere():
    with pytest.raises(RecursionError):
        Decoder().decode("[" * 1_000_000)


def test_errors_are_jsons_in_a_process_that_has_no_json_yet():
    code = """
from realizar_lambda.json_codec import Decoder
import sys
assert "json" not in sys.modules
try:
    Decoder().decode('{"a": 1, }')
except ValueError as error:
    print(type(error).__name__, error.pos)
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "JSONDecodeError 9\n"
