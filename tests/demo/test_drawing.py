"""The digits that the repository carries, and how they look in a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from demo import make_digits
from demo.digits import FIXTURE, Digit, read_digits
from demo.drawing import MAX_COLUMNS, STYLES, choose_style, draw

CAPTIONS = [f"{label} → {label}  99.99% WRONG" for label in range(10)]


def test_there_is_one_digit_of_each_class() -> None:
    digits = read_digits()
    assert [digit.label for digit in digits] == list(range(10))
    assert len({digit.index for digit in digits}) == 10


def test_the_fixture_is_what_its_script_makes_of_the_data(data_dir: Path) -> None:
    assert make_digits.digits(data_dir / "classifiers" / "mnist") == json.loads(FIXTURE.read_text())


def test_an_image_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    content = json.loads(FIXTURE.read_text())
    content["digits"][3]["pixels"] = "AAAA"
    path = tmp_path / "digits.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has 3 pixels, the fixture says 784"):
        read_digits(path)


def test_a_file_that_is_not_idx_is_refused(tmp_path: Path, data_dir: Path) -> None:
    source = data_dir / "classifiers" / "mnist" / make_digits.LABELS
    with pytest.raises(ValueError, match="an idx file of u8"):
        make_digits.read_idx(source, 3)


@pytest.mark.parametrize("style", STYLES)
def test_a_drawing_fits_eighty_columns_and_shows_every_caption(style: str) -> None:
    drawing = draw(read_digits(), CAPTIONS, style=style)
    plain = re.sub(r"\x1b\[[\d;]*m", "", drawing)
    assert max(map(len, plain.splitlines())) <= MAX_COLUMNS
    assert all(caption in plain for caption in CAPTIONS)


def test_the_ascii_style_has_only_ascii() -> None:
    assert draw(read_digits(), ["x"] * 10, style="ascii").isascii()


def test_each_character_stands_for_two_pixels() -> None:
    digit = Digit(index=0, label=1, height=4, width=3, pixels=bytes([255, 0, 255, 255, 255, 0, 0, 0, 0, 200, 0, 200]))
    lines = draw([digit], ["cap"], style="blocks").splitlines()
    assert lines == ["█▄▀", "▄ ▄", "cap"]


@pytest.mark.parametrize(
    ("environ", "encoding", "is_terminal", "expected"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", True, "grey"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "utf-8", True, "blocks"),
        ({"TERM": "dumb"}, "utf-8", True, "blocks"),
        ({}, "utf-8", True, "blocks"),
        ({"TERM": "xterm"}, "utf-8", False, "blocks"),
        ({"TERM": "xterm"}, "ascii", True, "ascii"),
        ({"TERM": "xterm"}, "latin-1", True, "ascii"),
        ({"TERM": "xterm"}, "no-such-encoding", True, "ascii"),
    ],
)
def test_the_style_follows_the_output(environ: dict[str, str], encoding: str, is_terminal: bool, expected: str) -> None:
    assert choose_style(environ, encoding=encoding, is_terminal=is_terminal) == expected
