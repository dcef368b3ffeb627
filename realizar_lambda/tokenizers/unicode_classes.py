"""Code points sorted into the few classes that a set of patterns can tell apart.

It does not know what a pattern is: it is given predicates over (code point, general category) and the explicit
ranges that they mention.
"""

from __future__ import annotations

from itertools import pairwise

from realizar_lambda.tokenizers import unicode_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Predicate = Callable[[int, int], bool]

PAGE = 256
N_INDEX = 0x110000 // PAGE
CATEGORIES = {name: number for number, name in enumerate(unicode_data.CATEGORIES.split())}
ANYWHERE = -1

_unpacked: list[bytes] = []


def _tables() -> tuple[bytes, bytes]:
    """The index (N_INDEX u16, little-endian) and the pages (256 category numbers each) of unicode_data."""
    if not _unpacked:
        import binascii
        import zlib

        data = zlib.decompress(binascii.a2b_base64(unicode_data.PACKED))
        _unpacked.extend((data[: 2 * N_INDEX], data[2 * N_INDEX :]))
    return _unpacked[0], _unpacked[1]


def category_mask(name: str) -> int | None:
    """The categories of `name` as a bit mask: "Lu" is one, "L" all that begin so; None if there is none."""
    mask = 0
    for category, number in CATEGORIES.items():
        if category == name or (len(name) == 1 and category[0] == name):
            mask |= 1 << number
    return mask or None


def category(point: int) -> int:
    """The number of the general category of one code point."""
    index, pages = _tables()
    page = index[2 * (point // PAGE)] | index[2 * (point // PAGE) + 1] << 8
    return pages[page * PAGE + point % PAGE]


class ClassTable:
    """The class of every code point, and for each predicate the classes that it holds for.

    `index` has N_INDEX u16 page numbers (little-endian), `pages` 256 class numbers (u8) per page. `members[i]`
    is a bit mask: bit c is set when predicate i holds for the code points of class c.
    """

    __slots__ = ("index", "members", "n_classes", "pages")

    def __init__(self, predicates: Sequence[Predicate], ranges: Iterable[tuple[int, int]]) -> None:
        """Each predicate takes a code point and its category number.

        The code point is ANYWHERE when it lies in none of `ranges` (first, last), and stands for its whole
        stretch between two range borders otherwise.
        """
        numbers: dict[tuple[bool, ...], int] = {}

        def class_of(point: int, number: int) -> int:
            signature = tuple(holds(point, number) for holds in predicates)
            return numbers.setdefault(signature, len(numbers))

        index, pages = _tables()
        base = bytes(class_of(ANYWHERE, number) for number in range(len(CATEGORIES)))
        table = _Pages(index, pages, base)
        for first, last in _stretches(ranges):
            table.rewrite(first, last, class_of)
        self.index = bytes(table.index)
        self.pages = b"".join(table.pages)
        self.n_classes = len(numbers)
        self.members = [
            sum(1 << number for signature, number in numbers.items() if signature[i]) for i in range(len(predicates))
        ]

    def class_of(self, point: int) -> int:
        """The class of one code point."""
        page = self.index[2 * (point // PAGE)] | self.index[2 * (point // PAGE) + 1] << 8
        return self.pages[page * PAGE + point % PAGE]


class _Pages:
    """Pages of classes, shared between equal stretches of Unicode until one of them is rewritten."""

    def __init__(self, index: bytes, categories: bytes, base: bytes) -> None:
        self._categories = categories
        self._source = memoryview(index).cast("H")
        translation = base + bytes(256 - len(base))
        classes = categories.translate(translation)
        self.pages = [classes[i : i + PAGE] for i in range(0, len(classes), PAGE)]
        self.index = bytearray(index)
        self._numbers = {page: number for number, page in enumerate(self.pages)}

    def rewrite(self, first: int, last: int, class_of: Callable[[int, int], int]) -> None:
        """Give the code points first..last the class of (first, their category)."""
        index = memoryview(self.index).cast("H")
        for number in range(first // PAGE, last // PAGE + 1):
            low = max(first - number * PAGE, 0)
            high = min(last - number * PAGE, PAGE - 1) + 1
            start = self._source[number] * PAGE
            categories = self._categories[start + low : start + high]
            translation = bytearray(256)
            for present in set(categories):
                translation[present] = class_of(first, present)
            page = self.pages[index[number]]
            page = page[:low] + categories.translate(translation) + page[high:]
            known = self._numbers.get(page)
            if known is None:
                known = self._numbers[page] = len(self.pages)
                self.pages.append(page)
            index[number] = known
        index.release()


def _stretches(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges cut at every border of another, so that each stretch is wholly in or out of each range."""
    depths: dict[int, int] = {}
    for first, last in set(ranges):
        depths[first] = depths.get(first, 0) + 1
        depths[last + 1] = depths.get(last + 1, 0) - 1
    covered, depth = [], 0
    for low, high in pairwise(sorted(depths)):
        depth += depths[low]
        if depth:
            covered.append((low, high - 1))
    return covered
