"""Write realizar_lambda/tokenizers/unicode_data.py: the general category of every code point, packed.

Run it with a Python whose `unicodedata` is at VERSION (Python 3.13), or with `unicodedata2` of that version
installed. The file it writes depends on nothing but that version.
"""

from __future__ import annotations

import binascii
import importlib
import sys
import zlib
from pathlib import Path

VERSION = "15.1.0"
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn"
PAGE = 256
TARGET = Path(__file__).resolve().parent.parent / "realizar_lambda" / "tokenizers" / "unicode_data.py"

HEADER = '''"""The general category of every Unicode code point, packed; written by tools/make_unicode_data.py.

It does not know what a category is used for: see unicode_classes.py.
"""

from __future__ import annotations

VERSION = "{version}"
CATEGORIES = "{categories}"
N_PAGES = {n_pages}
PACKED = (
{packed}
)
'''


def unicode_database() -> object:
    """A module like `unicodedata` whose version is VERSION."""
    for name in ("unicodedata", "unicodedata2"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        if module.unidata_version == VERSION:
            return module
    sys.exit(f"need unicodedata {VERSION}: run with Python 3.13, or pip install unicodedata2=={VERSION}")


def pages_and_index(categories: bytes) -> tuple[bytes, bytes]:
    """The distinct pages of `categories` end to end, and for each page of code points a u16 page number."""
    numbers: dict[bytes, int] = {}
    index = bytearray()
    for start in range(0, len(categories), PAGE):
        page = categories[start : start + PAGE]
        index += numbers.setdefault(page, len(numbers)).to_bytes(2, "little")
    return b"".join(numbers), bytes(index)


def source(categories: bytes) -> str:
    """The text of the module for a category number per code point."""
    pages, index = pages_and_index(categories)
    packed = binascii.b2a_base64(zlib.compress(index + pages, 9), newline=False).decode("ascii")
    width = 104
    lines = [f'    b"{packed[i : i + width]}"' for i in range(0, len(packed), width)]
    return HEADER.format(version=VERSION, categories=CATEGORIES, n_pages=len(pages) // PAGE, packed="\n".join(lines))


def main() -> None:
    database = unicode_database()
    numbers = {name: number for number, name in enumerate(CATEGORIES.split())}
    categories = bytes(numbers[database.category(chr(point))] for point in range(sys.maxunicode + 1))
    TARGET.write_text(source(categories), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
