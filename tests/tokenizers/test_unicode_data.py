"""The packed table of Unicode categories against Python's own, and as its script writes it."""

from __future__ import annotations

import sys
import unicodedata
from pathlib import Path

import pytest

from realizar_lambda.tokenizers import unicode_data
from realizar_lambda.tokenizers.unicode_classes import CATEGORIES, ClassTable, category, category_mask

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = {number: name for name, number in CATEGORIES.items()}


def test_categories_are_those_of_python_for_every_character_that_it_knows() -> None:
    different = 0
    for point in range(0, sys.maxunicode + 1, 7):
        expected, found = unicodedata.category(chr(point)), NAMES[category(point)]
        if expected != found:
            assert "Cn" in (expected, found), hex(point)
            different += 1
    assert different < 1500, "Python's Unicode is a few versions off at most"
    if unicodedata.unidata_version == unicode_data.VERSION:
        assert different == 0


def test_the_table_is_what_its_script_writes() -> None:
    if unicodedata.unidata_version != unicode_data.VERSION:
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}, the table {unicode_data.VERSION}")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import make_unicode_data as script
    finally:
        sys.path.pop(0)
    numbers = {name: number for number, name in enumerate(script.CATEGORIES.split())}
    categories = bytes(numbers[unicodedata.category(chr(point))] for point in range(sys.maxunicode + 1))
    assert script.source(categories) == Path(unicode_data.__file__).read_text(encoding="utf-8")


def test_the_table_is_compact() -> None:
    assert Path(unicode_data.__file__).stat().st_size < 30_000


def test_a_category_is_named_alone_or_by_its_first_letter() -> None:
    letters = category_mask("L")
    assert letters is not None
    assert letters == sum(category_mask(name) or 0 for name in ("Lu", "Ll", "Lt", "Lm", "Lo"))
    assert category_mask("Xx") is None


def test_classes_tell_apart_what_predicates_tell_apart() -> None:
    upper = category_mask("Lu") or 0
    predicates = [lambda _point, number: bool(upper >> number & 1), lambda point, _number: 0x3C0 <= point <= 0x3C9]
    table = ClassTable(predicates, [(0x3C0, 0x3C9)])
    for point in (*range(0x370, 0x400), 0x41, 0x4E00, 0x10FFFF):
        number = table.class_of(point)
        assert table.members[0] >> number & 1 == (unicodedata.category(chr(point)) == "Lu")
        assert table.members[1] >> number & 1 == (0x3C0 <= point <= 0x3C9)
    assert table.n_classes == 3
