from __future__ import annotations

import pytest

from realizar_lambda.cli.terminal import columns, escaped, size_text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1048575, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (1 << 70, "1024.0 EiB"),
    ],
)
def test_sizes_read_well(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text


def test_what_could_move_the_cursor_is_escaped() -> None:
    assert escaped("a\x1b[2J\n\t\\\u202e\U000e0001木") == "a\\x1b[2J\\n\\t\\\\\\u202e\\U000e0001木"


def test_long_text_is_cut() -> None:
    assert escaped("abcdef", max_characters=4) == "abc…"
    assert escaped("abcd", max_characters=4) == "abcd"


def test_columns_are_aligned() -> None:
    assert columns([("a", "1", "x"), ("bb", "22", "")], right=(1,)) == ["  a    1  x", "  bb  22"]
    assert columns([]) == []
