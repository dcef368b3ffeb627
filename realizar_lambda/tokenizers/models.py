"""How each family of vocabularies cuts text into tokens and writes them; it does not know where tokens come from.

    ByteLevel        GPT-2: bytes, split by a pre-tokenizer, merged by rank
    SentencePiece    characters with U+2581 for spaces, merged by score or by rank, bytes for what is unknown
    Unigram          the likeliest whole tokens of a normalised text
    WordPiece        the longest pieces of each word

Each encodes one stretch of plain text. `is_first` says that it begins the whole text, `is_start` that nothing or a
special token stands before it.
"""

from __future__ import annotations

from realizar_lambda.tokenizers.vocabulary import BYTE, NORMAL, UNUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar_lambda.tokenizers.special_tokens import SpecialTokens
    from realizar_lambda.tokenizers.vocabulary import Vocabulary

    Normalize = Callable[[str], str]

SPACE_MARK = "▁"
_MARK = SPACE_MARK.encode()
ALWAYS, AT_STARTS, AT_FIRST, NEVER = range(4)
"""Where a space is put before text: before every stretch, where `is_start`, where `is_first`, nowhere."""


def _wants_prefix(rule: int, is_first: bool, is_start: bool) -> bool:
    return rule == ALWAYS or (rule == AT_STARTS and is_start) or (rule == AT_FIRST and is_first)


CLEANED = {
    b" " + text: text for text in (b".", b"?", b"!", b",", b"'s", b"'m", b"'ve", b"'re", b"n't")
}  # fmt: skip
"""WordPiece's pieces that are written without the space before them."""


class ByteLevel:
    """Byte-level BPE. With `adds_space` a stretch that begins with no space gets one."""

    __slots__ = ("adds_space", "normalize", "vocabulary")

    def __init__(self, vocabulary: Vocabulary, *, normalize: Normalize | None = None, adds_space: bool = False) -> None:
        self.vocabulary = vocabulary
        self.normalize = normalize
        self.adds_space = adds_space

    def encode(self, text: str, *, is_first: bool, is_start: bool) -> list[int]:
        """The tokens of a stretch of text."""
        if self.normalize is not None:
            text = self.normalize(text)
        if self.adds_space and not text.startswith(" "):
            text = " " + text
        return self.vocabulary.encode(text.encode())

    def piece(self, token: int) -> bytes:
        """The bytes that a token writes."""
        return b"" if self.vocabulary.types[token] == UNUSED else self.vocabulary.text(token)

    def first_piece(self, piece: bytes) -> bytes:
        """`piece` where nothing stands before it."""
        return piece


class SentencePiece:
    """Characters merged into pieces in which U+2581 is a space; see also Unigram, which writes alike.

    `prefix` is one of ALWAYS, AT_STARTS, AT_FIRST, NEVER. `normalize` turns a stretch into what is tokenized; with
    None spaces become U+2581 and nothing else changes. `symbols` are tokens to be found in normalised text.
    `strips_first`: decoding drops the space that a text's first piece begins with. `prefix_unless_marked`: text that
    begins with U+2581 gets no other.
    """

    __slots__ = ("normalize", "prefix", "prefix_unless_marked", "strips_first", "symbols", "vocabulary")

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        prefix: int,
        strips_first: bool,
        normalize: Normalize | None = None,
        symbols: SpecialTokens | None = None,
        prefix_unless_marked: bool = False,
    ) -> None:
        self.vocabulary = vocabulary
        self.prefix = prefix
        self.prefix_unless_marked = prefix_unless_marked
        self.strips_first = strips_first
        self.normalize = normalize
        self.symbols = symbols

    def encode(self, text: str, *, is_first: bool, is_start: bool) -> list[int]:
        """The tokens of a stretch of text."""
        text = text.replace(" ", SPACE_MARK) if self.normalize is None else self.normalize(text)
        if text and _wants_prefix(self.prefix, is_first, is_start):
            is_marked = self.prefix_unless_marked and text.startswith(SPACE_MARK)
            text = text if is_marked else SPACE_MARK + text
        return self.encode_normalized(text)

    def encode_normalized(self, text: str) -> list[int]:
        """The tokens of text in which U+2581 stands for spaces."""
        if self.symbols is None:
            return self.vocabulary.encode(text.encode())
        ids = []
        for part in self.symbols.split(text, parse_special=False):
            ids += self.vocabulary.encode(part.encode()) if isinstance(part, str) else [part]
        return ids

    def piece(self, token: int) -> bytes:
        """The bytes that a token writes."""
        kind, text = self.vocabulary.types[token], self.vocabulary.text(token)
        if kind == BYTE:
            return bytes((int(text[3:5], 16),))
        return b"" if kind == UNUSED else text.replace(_MARK, b" ")

    def first_piece(self, piece: bytes) -> bytes:
        """`piece` where nothing stands before it."""
        return piece[1:] if self.strips_first and piece[:1] == b" " else piece


class Unigram(SentencePiece):
    """The tokens with the greatest sum of weights; what no token stands for weighs `unknown_weight`."""

    __slots__ = ("unknown_weight",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        prefix: int,
        strips_first: bool,
        normalize: Normalize | None,
        unknown_weight: float,
        prefix_unless_marked: bool = False,
    ) -> None:
        super().__init__(
            vocabulary,
            prefix=prefix,
            strips_first=strips_first,
            normalize=normalize,
            prefix_unless_marked=prefix_unless_marked,
        )
        self.unknown_weight = unknown_weight

    def encode_normalized(self, text: str) -> list[int]:
        """The tokens of text in which U+2581 stands for spaces."""
        return self.vocabulary.encode_unigram(text.encode(), self.unknown_weight)


class WordPiece:
    """Words cut into their longest pieces. In the vocabulary a piece that begins a word begins with `mark`.

    `split_words` normalises a stretch and gives its words parted by single spaces. A word of more than
    `max_characters` is the unknown token.
    """

    __slots__ = ("mark", "max_characters", "split_words", "vocabulary")

    def __init__(self, vocabulary: Vocabulary, split_words: Normalize, *, mark: str, max_characters: int) -> None:
        self.vocabulary = vocabulary
        self.split_words = split_words
        self.mark = mark
        self.max_characters = max_characters

    def encode(self, text: str, *, is_first: bool, is_start: bool) -> list[int]:
        """The tokens of a stretch of text."""
        words = self.split_words(text)
        if not words:
            return []
        marked = self.mark + words.replace(" ", f" {self.mark}")
        return self.vocabulary.encode_words(marked.encode(), self.max_characters + 1)

    def piece(self, token: int) -> bytes:
        """The bytes that a token writes."""
        text = self.vocabulary.text(token)
        if self.vocabulary.types[token] != NORMAL:
            return text
        piece = text.replace(self.mark.encode(), b" ")
        return CLEANED.get(piece, piece)

    def first_piece(self, piece: bytes) -> bytes:
        """`piece` where nothing stands before it."""
        return piece.removeprefix(b" ")
