"""Ids to text: pieces, whole characters in a stream, ids that are none, text that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import GGUF_NAMES, by_score, gguf, mixed_texts, unicode_text

from realizar_lambda.errors import RequestError

BYTES = by_score([("▁", -1.0), ("▁▁", -0.5), ("é", -2.0)])


@pytest.mark.parametrize("name", GGUF_NAMES)
def test_a_stream_gives_what_decode_gives_in_whole_characters(data_dir: Path, name: str) -> None:
    tokenizer = gguf(data_dir, name)
    for text in mixed_texts(data_dir)[::3]:
        ids = tokenizer.encode(text[:2000])
        stream = tokenizer.stream_decoder(is_start=True)
        parts = [stream.feed(token) for token in ids]
        assert all("\ufffd" not in part for part in parts) or "\ufffd" in text
        assert "".join(parts) + stream.finish() == tokenizer.decode(ids)


@given(ids=st.lists(st.integers(0, 261), max_size=30))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_stream_of_any_bytes_is_decode(ids: list[int]) -> None:
    stream = BYTES.stream_decoder(is_start=True)
    assert "".join(map(stream.feed, ids)) + stream.finish() == BYTES.decode(ids)


def test_half_a_character_is_withheld_until_it_is_whole() -> None:
    stream = BYTES.stream_decoder()
    ids = [3 + byte for byte in "😀".encode()]
    assert [stream.feed(token) for token in ids] == ["", "", "", "😀"]
    assert stream.feed(ids[0]) == ""
    assert stream.finish() == "\ufffd"
    assert BYTES.decode(ids[:2]) == "\ufffd"
    assert BYTES.decode_bytes(ids[:2]) == b"\xf0\x9f"


def test_the_first_space_is_dropped_at_the_start_of_a_text_only() -> None:
    assert BYTES.decode([1, 260]) == " "
    assert BYTES.stream_decoder().feed(260) == "  "
    assert BYTES.stream_decoder(is_start=True).feed(260) == " "
    started = BYTES.stream_decoder(is_start=True)
    assert [started.feed(1), started.feed(259), started.feed(259)] == ["", "", " "]


def test_control_tokens_are_written_where_they_are_not_skipped() -> None:
    assert BYTES.decode([1, 261, 2, 0]) == "é"
    assert BYTES.decode([1, 261, 2, 0], skip_special=False) == "<s>é</s><unk>"
    assert BYTES.stream_decoder(skip_special=False).feed(2) == "</s>"


@pytest.mark.parametrize("token", [-1, 262, 1 << 40])
def test_ids_out_of_range_are_refused_with_the_range(token: int) -> None:
    for call in (BYTES.piece, BYTES.is_control, lambda token: BYTES.decode([0, token]), BYTES.stream_decoder().feed):
        with pytest.raises(RequestError, match=f"token ids must be 0 to 261, got {token}") as caught:
            call(token)
        assert (caught.value.status, caught.value.field) == (400, "token_ids")


@pytest.mark.parametrize("token", [True, 1.0, "1", None, [1]])
def test_ids_that_are_no_integers_are_refused(token: object) -> None:
    with pytest.raises(RequestError, match="must be an integer") as caught:
        BYTES.decode([token])  # type: ignore[list-item]
    assert caught.value.status == 422


@pytest.mark.parametrize("text", ["ab\ud800", "\udc80", "\ud83d x"])
def test_lone_surrogates_are_refused_with_their_place(text: str) -> None:
    place = next(i for i, c in enumerate(text) if 0xD800 <= ord(c) < 0xE000)
    with pytest.raises(RequestError, match=f"character {place} is the lone surrogate U\\+D") as caught:
        BYTES.encode(text)
    assert (caught.value.status, caught.value.field) == (400, "text")


@given(text=unicode_text)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_any_text_comes_back_through_bytes(text: str) -> None:
    assert BYTES.decode(BYTES.encode(text)) == text.replace("▁", " "), "the mark and the space are one"


def test_zero_bytes_are_characters_like_others(data_dir: Path) -> None:
    for name in ("llama-bpe", "gpt-2", "llama-spm"):
        tokenizer = gguf(data_dir, name)
        assert tokenizer.decode(tokenizer.encode("a\0b\0")) == "a\0b\0"


def test_pieces_are_the_bytes_that_tokens_write(data_dir: Path) -> None:
    assert gguf(data_dir, "llama-bpe").piece(9906) == b"Hello"
    assert gguf(data_dir, "llama-bpe").piece(289) == b" w"
    assert gguf(data_dir, "llama-bpe").piece(99) == b"\xa6"
    assert gguf(data_dir, "llama-spm").piece(3 + 10) == b"\n"
    assert gguf(data_dir, "llama-spm").piece(15043) == b" Hello"
    assert gguf(data_dir, "llama-spm").piece(1) == b"<s>"
