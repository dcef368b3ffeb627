"""Sets of characters as predicates over code points and general categories; it does not know patterns."""

from __future__ import annotations

from bisect import bisect_right

from realizar_lambda.tokenizers.unicode_classes import CATEGORIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tokenizers.unicode_classes import Predicate

WHITE_SPACE = ((9, 13), (0x85, 0x85))
SEPARATORS = sum(1 << number for name, number in CATEGORIES.items() if name[0] == "Z")
HAN = (
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0x2CEB0, 0x2EBEF), (0x2F800, 0x2FA1F),
)  # fmt: skip


class Spans:
    """The predicate of spans (first, last) of code points."""

    __slots__ = ("_firsts", "_lasts", "spans")

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self.spans = spans
        merged: list[list[int]] = []
        for first, last in sorted(spans):
            if merged and first <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        self._firsts = [first for first, _ in merged]
        self._lasts = [last for _, last in merged]

    def __call__(self, point: int, category: int) -> bool:
        found = bisect_right(self._firsts, point) - 1
        return found >= 0 and point <= self._lasts[found]


class SetTable:
    """The character sets of one or more patterns: predicates, and the explicit ranges they mention."""

    __slots__ = ("_keys", "predicates", "ranges")

    def __init__(self) -> None:
        self.predicates: list[Predicate] = []
        self.ranges: set[tuple[int, int]] = set()
        self._keys: dict[str, int] = {}

    def number(self, key: str, predicate: Predicate) -> int:
        """The number of a set; the same `key` (its source text) gives the same number."""
        if key not in self._keys:
            self._keys[key] = len(self.predicates)
            self.predicates.append(predicate)
        return self._keys[key]

    def span(self, first: int, last: int) -> Predicate:
        """The predicate of the code points first..last."""
        self.ranges.add((first, last))
        return Spans([(first, last)])


def either(predicates: list[Predicate]) -> Predicate:
    """In one of the sets."""
    spans = Spans([span for predicate in predicates if isinstance(predicate, Spans) for span in predicate.spans])
    others = [predicate for predicate in predicates if not isinstance(predicate, Spans)]
    parts: list[Predicate] = [spans, *others] if spans.spans else others
    if len(parts) == 1:
        return parts[0]
    return lambda point, category: any(holds(point, category) for holds in parts)


def both(first: Predicate, second: Predicate) -> Predicate:
    """In both sets."""
    return lambda point, category: first(point, category) and second(point, category)


def outside(predicate: Predicate) -> Predicate:
    """Outside of the set."""
    return lambda point, category: not predicate(point, category)


def in_categories(mask: int) -> Predicate:
    """In one of the general categories of a mask."""
    return lambda _point, category: bool(mask >> category & 1)
