from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda.errors import FormatError, RequestError
from realizar_lambda.formats.messagepack import decode_map, encode_map

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40),
    lambda children: st.lists(children, max_size=20) | st.dictionaries(st.text(max_size=8), children, max_size=20),
    max_leaves=10,
)


def decode(data: bytes) -> dict[str, object]:
    return decode_map("file", 32, memoryview(data))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=5))
def test_what_is_encoded_decodes_to_itself(value: dict[str, object]) -> None:
    assert decode(encode_map(value)) == value


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("81a161c0", {"a": None}),
        ("81a161ff", {"a": -1}),
        ("81a161ca3f800000", {"a": 1.0}),
        ("81a161c4020102", {"a": b"\x01\x02"}),
        ("81a161d90162", {"a": "b"}),
        ("81a161da000162", {"a": "b"}),
        ("81a161db0000000162", {"a": "b"}),
        ("81a161dc000101", {"a": [1]}),
        ("81a161dd0000000101", {"a": [1]}),
        ("de0001a161d0ff", {"a": -1}),
        ("df00000001a161d1ff7f", {"a": -129}),
        ("81a161cfffffffffffffffff", {"a": (1 << 64) - 1}),
    ],
)
def test_every_form_of_the_specification_is_decoded(data: str, value: dict[str, object]) -> None:
    assert decode(bytes.fromhex(data)) == value


@pytest.mark.parametrize("length", [0, 31, 32, 255, 256, 65535, 65536])
def test_lengths_around_each_forms_limit_survive(length: int) -> None:
    value = {"text": "x" * length, "list": [0] * length, "map": {str(i): i for i in range(length)}}
    assert decode(encode_map(value)) == value


@pytest.mark.parametrize(
    ("data", "message", "offset"),
    [
        ("", "ends early", 32),
        ("91", "1 items, 0 bytes are left", 33),
        ("9101", "not a map", 32),
        ("81a161", "ends early", 35),
        ("8101c0", "a key of the MessagePack metadata is 1", 34),
        ("82a161c0a161c0", "occurs twice", 38),
        ("81a1ffc0", "not UTF-8", 34),
        ("81a161c1", "tag 0xc1", 35),
        ("81a161d4aabb", "tag 0xd4", 35),
        ("81a161c000", "1 bytes follow", 36),
        ("81a161ddffffffff", "declares 4294967295 items", 40),
        ("81a161dfffffffff", "declares 4294967295 items", 40),
        ("81a161dbffffffff", "ends early", 40),
        ("81a161" + "91" * 40 + "c0", "nested more than 32", 67),
    ],
)
def test_broken_metadata_is_refused_where_it_breaks(data: str, message: str, offset: int) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        decode(bytes.fromhex(data))
    assert caught.value.offset == offset


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_random_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        decode(data)
    except FormatError:
        pass


def test_nesting_without_end_is_not_encoded() -> None:
    value: dict[str, object] = {}
    value["self"] = value
    with pytest.raises(RequestError, match="nested"):
        encode_map(value)
