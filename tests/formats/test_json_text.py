from __future__ import annotations

import pytest

from realizar_lambda.errors import FormatError
from realizar_lambda.formats.json_text import MAX_VALUES, parse, parse_object


def test_an_object_is_parsed() -> None:
    assert parse_object("f", 8, b'{"a": [1, 2.5, "\\ud83d\\ude00"]}  ') == {"a": [1, 2.5, "\U0001f600"]}


@pytest.mark.parametrize(
    ("raw", "message", "offset"),
    [
        (b'{"a": nan}', "not JSON", 14),
        (b'{"a": NaN}', "NaN is not a JSON value", 8),
        (b'{"a": -Infinity}', "-Infinity is not a JSON value", 8),
        (b'{"a": 1, "a": 2}', "'a' occurs twice", 8),
        (b'{"b": {"a": 1, "a": 2}}', "'a' occurs twice", 8),
        (b'{"a": "\xff"}', "not UTF-8", 15),
        ('{"größe": x}'.encode(), "Expecting value", 20),
        (b"[1]", "is an array", 8),
        (b"null", "is null", 8),
        (b"", "Expecting value", 8),
        (b'{"a": "\\ud800"}', "unpaired surrogate", 8),
        (b'{"\\uDfff": 1}', "unpaired surrogate", 8),
        (b'{"a":' * 100_000, "nested too deeply", 8),
        (b'{"a": ' + b"1" * 5000 + b"}", "not JSON", 8),
        (b'{"a": [' + b"[]," * MAX_VALUES + b"0]}", "at most", 8),
    ],
)
def test_what_is_no_sound_object_is_refused_where_it_breaks(raw: bytes, message: str, offset: int) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse_object("f", 8, raw)
    assert caught.value.offset == offset


def test_any_value_is_parsed_where_any_value_is_allowed() -> None:
    assert parse("f", 0, b"[true, null]") == [True, None]
