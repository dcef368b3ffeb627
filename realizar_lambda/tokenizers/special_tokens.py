"""Finding special tokens that stand in text as they are written; it does not know what is done with the rest.

At each place the longest token is taken, and the search goes on after it. Tokens of the user's own are always
found; control tokens and the unknown token only where the caller asks for it.
"""

from __future__ import annotations

from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


ASCII_SPACES = " \t\n\v\f\r"
SPACES = ASCII_SPACES + "\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


class SpecialToken(namedtuple("SpecialToken", "token text is_always strips_left strips_right is_word")):
    """`is_always`: found even where special tokens are not asked for.

    `strips_left`, `strips_right`: the characters that it takes along where they stand beside it. `is_word`: only
    found where no letter, digit or underscore is next to it.
    """

    __slots__ = ()

    @classmethod
    def plain(cls, token: int, text: str, *, is_always: bool) -> SpecialToken:
        """One that takes nothing along."""
        return cls(token, text, is_always, "", "", False)


class _Finder:
    """The tokens of one kind, by length and text."""

    def __init__(self, tokens: Iterable[SpecialToken]) -> None:
        self.by_text = {special.text: special for special in tokens if special.text}
        self.lengths = sorted({len(text) for text in self.by_text}, reverse=True)
        self.starts = sorted({text[:2] for text in self.by_text}, key=len, reverse=True)

    def matches(self, text: str) -> Iterator[tuple[int, SpecialToken]]:
        """Each token in `text` and where it begins, from left to right."""
        if not any(start in text for start in self.starts):
            return
        import re  # 3 ms of a cold start, for texts that have a special token

        begin = re.compile("|".join(map(re.escape, self.starts)))
        found = begin.search(text)
        while found:
            place = found.start()
            special = self._at(text, place)
            if special is not None:
                yield place, special
                place += len(special.text) - 1
            found = begin.search(text, place + 1)

    def _at(self, text: str, place: int) -> SpecialToken | None:
        for length in self.lengths:
            special = self.by_text.get(text[place : place + length])
            if special is not None and (not special.is_word or _stands_alone(text, place, place + length)):
                return special
        return None


class SpecialTokens:
    """All special tokens of a vocabulary."""

    __slots__ = ("_always", "_parsed", "tokens")

    def __init__(self, tokens: Iterable[SpecialToken]) -> None:
        self.tokens = tuple(tokens)
        self._always: _Finder | None = None
        self._parsed: _Finder | None = None

    def split(self, text: str, *, parse_special: bool) -> list[str | int]:
        """`text` as stretches of plain text and tokens; no stretch is empty."""
        if parse_special:
            finder = self._parsed = self._parsed or _Finder(self.tokens)
        else:
            finder = self._always = self._always or _Finder(token for token in self.tokens if token.is_always)
        parts: list[str | int] = []
        done = 0
        for place, special in finder.matches(text):
            before = text[done:place]
            if special.strips_left:
                before = before.rstrip(special.strips_left)
            if before:
                parts.append(before)
            parts.append(special.token)
            done = place + len(special.text)
            if special.strips_right:
                done = len(text) - len(text[done:].lstrip(special.strips_right))
        if done < len(text):
            parts.append(text[done:])
        return parts


def _stands_alone(text: str, start: int, end: int) -> bool:
    beside = text[start - 1 : start] + text[end : end + 1]
    return not any(character.isalnum() or character == "_" for character in beside)
