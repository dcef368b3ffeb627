"""Digits as text, for a terminal of 80 columns. It does not know what a digit means.

A character stands for two pixels, one above the other, which is about square. Three styles:

    grey    half blocks in two of the terminal's greys: every pixel, every shade
    blocks  half blocks without colour: every pixel, ink or paper
    ascii   a ramp of characters: the mean of the two pixels
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from demo.digits import Digit

MAX_COLUMNS = 80
_GAP = 3
_INK = 96
"""A pixel from here on is ink where there are no shades."""

_RAMP = " .:-=+*#%@"
_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
_RESET = "\x1b[0m"
_FIRST_GREY = 232
_N_GREYS = 24

Pair = tuple[int, int]


def _as_ascii(pairs: Sequence[Pair]) -> str:
    return "".join(_RAMP[(upper + lower) * len(_RAMP) // (2 * 256)] for upper, lower in pairs)


def _as_blocks(pairs: Sequence[Pair]) -> str:
    return "".join(_BLOCKS[upper >= _INK, lower >= _INK] for upper, lower in pairs)


def _as_grey(pairs: Sequence[Pair]) -> str:
    greys = [tuple(_FIRST_GREY + value * _N_GREYS // 256 for value in pair) for pair in pairs]
    return "".join(f"\x1b[38;5;{upper};48;5;{lower}m▀" for upper, lower in greys) + _RESET


STYLES: Mapping[str, Callable[[Sequence[Pair]], str]] = {
    "grey": _as_grey,
    "blocks": _as_blocks,
    "ascii": _as_ascii,
}


def choose_style(environ: Mapping[str, str], *, encoding: str, is_terminal: bool) -> str:
    """The best style for an output with this encoding. NO_COLOR and TERM=dumb are honoured."""
    try:
        "▀▄█→".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "ascii"
    has_colour = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
    return "grey" if has_colour else "blocks"


def draw(digits: Sequence[Digit], captions: Sequence[str], *, style: str) -> str:
    """The digits side by side with a caption under each, as many to a line as fit MAX_COLUMNS."""
    top, bottom, left, right = _ink_box(digits)
    width = max(right - left, *(len(caption) for caption in captions))
    per_line = (MAX_COLUMNS + _GAP) // (width + _GAP)
    lines = []
    for start in range(0, len(digits), per_line):
        group = digits[start : start + per_line]
        for y in range(top, bottom, 2):
            cells = [_row(digit, y, left, right, style) + " " * (width - (right - left)) for digit in group]
            lines.append((" " * _GAP).join(cells).rstrip())
        names = captions[start : start + per_line]
        lines += [(" " * _GAP).join(name.ljust(width) for name in names).rstrip(), ""]
    return "\n".join(lines)


def _row(digit: Digit, y: int, left: int, right: int, style: str) -> str:
    def pixel(row: int, x: int) -> int:
        return digit.pixels[row * digit.width + x] if row < digit.height else 0

    return STYLES[style]([(pixel(y, x), pixel(y + 1, x)) for x in range(left, right)])


def _ink_box(digits: Sequence[Digit]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right): the smallest box that holds every digit's ink, so that nothing is cut off."""
    rows, columns = set(), set()
    for digit in digits:
        for place, value in enumerate(digit.pixels):
            if value:
                rows.add(place // digit.width)
                columns.add(place % digit.width)
    if not rows:
        return 0, digits[0].height, 0, digits[0].width
    return min(rows), max(rows) + 1, min(columns), max(columns) + 1
