"""Text to token ids and back: special tokens, BOS and EOS, and the model in between. It knows no file format."""

from __future__ import annotations

import codecs

from realizar_lambda.errors import RequestError
from realizar_lambda.tokenizers.special_tokens import SpecialTokens
from realizar_lambda.tokenizers.vocabulary import CONTROL, MAX_TEXT_BYTES, UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from realizar_lambda.tokenizers.vocabulary import Vocabulary

    class Model(Protocol):
        """How one family of vocabularies cuts text into tokens, and writes them."""

        def encode(self, text: str, *, is_first: bool, is_start: bool) -> list[int]:
            """The tokens of a stretch of text."""

        def piece(self, token: int) -> bytes:
            """The bytes that a token writes."""

        def first_piece(self, piece: bytes) -> bytes:
            """What `piece` is where nothing stands before it."""


class Tokenizer:
    """A model's tokenizer. Make one with `realizar_lambda.tokenizers.load`.

    `bos_id`, `eos_id`, `eot_id` (end of turn), `pad_id`, `unknown_id` are ids or None; `stop_ids` is the set of
    ids that end a generation. `prefix` and `suffix` are what `add_special` puts around a text. `chat_template` is
    the model's, or None.
    """

    __slots__ = (
        "_model",
        "_showing",
        "_skipping",
        "_specials",
        "_verbatim",
        "bos_id",
        "chat_template",
        "eos_id",
        "eot_id",
        "pad_id",
        "prefix",
        "stop_ids",
        "suffix",
        "unknown_id",
        "vocabulary",
    )

    def __init__(
        self,
        *,
        vocabulary: Vocabulary,
        model: Model,
        specials: SpecialTokens,
        ids: dict[str, int | None],
        prefix: Iterable[int] = (),
        suffix: Iterable[int] = (),
        stop_ids: Iterable[int] = (),
        chat_template: str | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self._model = model
        self._specials = specials
        self._skipping = _Written(self, skips_special=True)
        self._showing = _Written(self, skips_special=False)
        self._verbatim = {special.token: special.text.encode() for special in specials.tokens}
        self.bos_id = ids.get("bos")
        self.eos_id = ids.get("eos")
        self.eot_id = ids.get("eot")
        self.pad_id = ids.get("pad")
        self.unknown_id = ids.get("unknown")
        self.prefix = tuple(prefix)
        self.suffix = tuple(suffix)
        self.stop_ids = frozenset(stop_ids)
        self.chat_template = chat_template

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary; ids are below it."""
        return len(self.vocabulary)

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """The token ids of `text`.

        `add_special` puts the model's BOS and EOS (or what it uses instead) around them, `parse_special` takes
        special tokens written in the text for those tokens. Raises RequestError for text with lone surrogates
        or of more than MAX_TEXT_BYTES.
        """
        check_text(text)
        ids = list(self.prefix) if add_special else []
        is_first = is_start = True
        for part in self._specials.split(text, parse_special=parse_special):
            if isinstance(part, str):
                ids += self._model.encode(part, is_first=is_first, is_start=is_start)
                is_start = False
            else:
                ids.append(part)
                is_start = True
            is_first = False
        if add_special:
            ids += self.suffix
        return ids

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; bytes that are not UTF-8 become U+FFFD. Raises RequestError for ids out of range."""
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = True) -> bytes:
        """The bytes of the text of `ids`. Raises RequestError for ids out of range.

        Control tokens and the unknown token write nothing, or what they are called where `skip_special` is off.
        """
        ids = list(ids)
        if not set(map(type, ids)) <= {int}:
            for token in ids:
                self._check(token)
        written = self._skipping if skip_special else self._showing
        pieces = [piece for piece in map(written.__getitem__, ids) if piece is not None]
        if pieces:
            pieces[0] = self._model.first_piece(pieces[0])
        return b"".join(pieces)

    def stream_decoder(self, *, is_start: bool = False, skip_special: bool = True) -> StreamDecoder:
        """A decoder for ids as they come. `is_start` says that no text stands before the first of them."""
        return StreamDecoder(self, is_start=is_start, skip_special=skip_special)

    def piece(self, token: int) -> bytes:
        """The bytes that a token writes; a special one writes its name. Raises RequestError for an id out of range."""
        self._check(token)
        verbatim = self._verbatim.get(token)
        return self._model.piece(token) if verbatim is None else verbatim

    def is_control(self, token: int) -> bool:
        """Whether a token writes nothing. Raises RequestError for an id out of range."""
        self._check(token)
        return self.vocabulary.types[token] in (CONTROL, UNKNOWN)

    def find(self, piece: str) -> int | None:
        """The id of the token that is written so in the vocabulary, or None."""
        for special in self._specials.tokens:
            if special.text == piece:
                return int(special.token)
        found = self.vocabulary.find(piece.encode("utf-8", "surrogatepass"))
        return found if found >= 0 else None

    def _check(self, token: int) -> None:
        if isinstance(token, bool) or not isinstance(token, int):
            raise RequestError(422, f"a token id must be an integer, got {token!r:.40}", "token_ids")
        if not 0 <= token < self.n_tokens:
            raise RequestError(400, f"token ids must be 0 to {self.n_tokens - 1}, got {token}", "token_ids")


class _Written(dict[int, "bytes | None"]):
    """What each token met so far adds to text; None where it adds nothing at all."""

    def __init__(self, tokenizer: Tokenizer, *, skips_special: bool) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._skips_special = skips_special

    def __missing__(self, token: int) -> bytes | None:
        is_skipped = self._tokenizer.is_control(token) and self._skips_special
        piece = self[token] = None if is_skipped else self._tokenizer.piece(token)
        return piece


class StreamDecoder:
    """Text from ids as they come, whole characters only.

    What `feed` and `finish` give, end to end, is what `decode` gives for all the ids.
    """

    __slots__ = ("_decoder", "_is_start", "_tokenizer", "_written")

    def __init__(self, tokenizer: Tokenizer, *, is_start: bool, skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._is_start = is_start
        self._written = tokenizer._skipping if skip_special else tokenizer._showing
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that `token` completes; empty while a character is not. Raises RequestError as `decode`."""
        piece = self._written[token]
        if piece is None:
            return ""
        if self._is_start:
            self._is_start = False
            piece = self._tokenizer._model.first_piece(piece)
        return self._decoder.decode(piece)

    def finish(self) -> str:
        """What is left of an unfinished character: U+FFFD or nothing."""
        return self._decoder.decode(b"", True)


def check_text(text: str) -> bytes:
    """The UTF-8 of a text to encode. Raises RequestError for lone surrogates and beyond MAX_TEXT_BYTES."""
    try:
        data = text.encode()
    except UnicodeEncodeError as fault:
        found = ord(text[fault.start])
        raise RequestError(
            400, f"text must be Unicode, character {fault.start} is the lone surrogate U+{found:04X}", "text"
        ) from None
    if len(data) > MAX_TEXT_BYTES:
        raise RequestError(413, f"text has {len(data)} bytes, at most {MAX_TEXT_BYTES} are encoded", "text")
    return data
