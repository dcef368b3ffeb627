"""Text for a terminal: sizes people read, aligned columns, nothing that could move the cursor. It knows no model."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}


def size_text(n_bytes: int) -> str:
    """`n_bytes` with a binary unit: "512 B", "1.5 KiB"."""
    size, unit = float(n_bytes), 0
    while size >= 1023.95 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{n_bytes} B"


def escaped(text: str, *, max_characters: int | None = None) -> str:
    """`text` with every character that is not printable escaped, cut with an ellipsis where it is too long."""
    is_cut = max_characters is not None and len(text) > max_characters
    shown = text[: max_characters - 1] if is_cut and max_characters else text
    if not shown.isprintable() or "\\" in shown:
        shown = "".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(c)) for c in shown)
    return shown + "…" if is_cut else shown


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def columns(rows: Iterable[Sequence[str]], *, right: Sequence[int] = (), indent: str = "  ") -> list[str]:
    """`rows` as lines with their cells aligned, those of the columns numbered in `right` to the right."""
    table = [list(row) for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines
