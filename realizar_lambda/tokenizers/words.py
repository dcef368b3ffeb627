"""BERT's way of cutting text into words: clean, lower case, without accents, punctuation and Chinese alone.

It does not know tokens. Two manners exist: llama.cpp's, which takes the first character of each decomposition and
drops every mark, and the original's, which decomposes fully and drops marks that take no room.
"""

from __future__ import annotations

from realizar_lambda.tokenizers.unicode_classes import CATEGORIES, category

CHINESE = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
NAMES = {number: name for name, number in CATEGORIES.items()}


class WordSplitter:
    """`splitter(text)` is the words of `text` parted by single spaces.

    `drops` are the categories removed as accents (first letters or whole names) when accents are stripped;
    `decomposes_fully` is the original's manner.
    """

    __slots__ = ("_written", "decomposes_fully", "is_chinese_alone", "is_lower", "strips_accents")

    def __init__(
        self,
        *,
        is_lower: bool,
        strips_accents: bool,
        decomposes_fully: bool,
        is_chinese_alone: bool = True,
    ) -> None:
        self.is_lower = is_lower
        self.strips_accents = strips_accents
        self.decomposes_fully = decomposes_fully
        self.is_chinese_alone = is_chinese_alone
        self._written = _Cache(self)

    def __call__(self, text: str) -> str:
        if self.strips_accents and self.decomposes_fully and not text.isascii():
            from unicodedata import normalize

            text = normalize("NFD", text)
        written = "".join(map(self._written.__getitem__, text))
        return " ".join(filter(None, written.split(" ")))

    def write(self, character: str) -> str:
        """What one character becomes: nothing, a space, itself alone between spaces, or part of a word."""
        name = NAMES[category(ord(character))]
        if name[0] == "Z" or character in "\t\n\v\f\r\x85":
            return self._white_space(character)
        if character in "\0\ufffd" or name in ("Cc", "Cf", "Co", "Cs") or (name == "Cn" and self.decomposes_fully):
            return ""
        if self.strips_accents:
            if not self.decomposes_fully and not character.isascii():
                from unicodedata import normalize

                character = normalize("NFD", character)[0]
                name = NAMES[category(ord(character))]
            if name == "Mn" or (name[0] == "M" and not self.decomposes_fully):
                return ""
        if self.is_lower:
            lower = character.lower()
            character = lower if self.decomposes_fully else lower[0]
        is_alone = name[0] == "P" or (name[0] == "S" and character < "\x7f")
        if self.is_chinese_alone:
            is_alone = is_alone or any(first <= ord(character[0]) <= last for first, last in CHINESE)
        return f" {character} " if is_alone else character

    def _white_space(self, character: str) -> str:
        is_control = character in "\v\f\x85"
        return "" if is_control and self.decomposes_fully else " "


class _Cache(dict[str, str]):
    """What each character seen so far becomes."""

    def __init__(self, splitter: WordSplitter) -> None:
        super().__init__()
        self._splitter = splitter

    def __missing__(self, character: str) -> str:
        written = self[character] = self._splitter.write(character)
        return written
