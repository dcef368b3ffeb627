"""A tokenizer out of GGUF metadata, doing what llama.cpp does with the same file. It does not read files."""

from __future__ import annotations

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.gguf_strings import StringArray
from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.models import AT_STARTS, NEVER, ByteLevel, SentencePiece
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES, WORD_STAGE
from realizar_lambda.tokenizers.special_tokens import ASCII_SPACES, SpecialToken, SpecialTokens
from realizar_lambda.tokenizers.stop_tokens import END_OF_TURN, first_of, stop_ids, types_by_name
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.vocabulary import (
    CONTROL,
    NORMAL,
    NOT_A_TOKEN,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.tokenizers.tokenizer import Model

PREFIX = "tokenizer.ggml."


class Kind(namedtuple("Kind", "build ids adds_bos adds_eos", defaults=(False, False))):
    """A value of `tokenizer.ggml.model`: who builds it, its special ids by default, what it adds by default."""

    __slots__ = ()


class Metadata:
    """The tokenizer keys of a file, with the checks on their types."""

    __slots__ = ("_values", "path")

    def __init__(self, path: str, values: Mapping[str, object]) -> None:
        self.path = path
        self._values = values

    def text(self, key: str, default: str | None = None) -> str | None:
        """A string, or `default`. Raises FormatError for another type."""
        value = self._values.get(key, default)
        if value is not None and not isinstance(value, str):
            raise FormatError(self.path, None, f"{key} is {value!r:.60}, it must be a string")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A bool, or `default`. Raises FormatError for another type."""
        value = self._values.get(PREFIX + key, default)
        if not isinstance(value, bool):
            raise FormatError(self.path, None, f"{PREFIX}{key} is {value!r:.60}, it must be a bool")
        return value

    def strings(self, key: str) -> PackedStrings:
        """An array of strings. Raises FormatError where it is not there."""
        value = self._values.get(PREFIX + key)
        if isinstance(value, PackedStrings):
            return value
        if not isinstance(value, StringArray):
            raise FormatError(self.path, None, f"{PREFIX}{key} is {value!r:.60}, it must be an array of strings")
        return PackedStrings.from_array(value)

    def numbers(self, key: str, n: int | None = None) -> memoryview | None:
        """An array of numbers, `n` of them if given, or None. Raises FormatError for another type or length."""
        value = self._values.get(PREFIX + key)
        if value is None:
            return None
        if not isinstance(value, memoryview):
            raise FormatError(self.path, None, f"{PREFIX}{key} is {value!r:.60}, it must be an array of numbers")
        if n is not None and len(value) != n:
            raise FormatError(self.path, None, f"{PREFIX}{key} has {len(value)} numbers, the vocabulary {n} tokens")
        return value

    def token(self, key: str, n_tokens: int, default: int | None) -> int | None:
        """A token id, or `default` where that is one. Raises FormatError for an id out of the vocabulary."""
        name = f"{PREFIX}{key}_token_id"
        value = self._values.get(name)
        if value is None:
            return default if default is not None and default < n_tokens else None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < n_tokens:
            raise FormatError(self.path, None, f"{name} is {value!r:.60}, ids are 0 to {n_tokens - 1}")
        return value


def from_metadata(path: str, values: Mapping[str, object]) -> Tokenizer:
    """The tokenizer that a GGUF file's metadata describe.

    Raises FormatError for vocabularies that break the rules, UnsupportedError for models and pre-tokenizers that we
    do not have.
    """
    metadata = Metadata(path, values)
    name = metadata.text(f"{PREFIX}model")
    if name is None:
        raise FormatError(path, None, f"{PREFIX}model is not there: the file holds no vocabulary")
    kind = KINDS.get(name)
    if kind is None:
        raise UnsupportedError(f"{path}: tokenizer model {name!r}", KINDS)
    tokenizer: Tokenizer = kind.build(metadata, kind)
    return tokenizer


def _vocabulary(metadata: Metadata, *, is_byte_level: bool = False) -> Vocabulary:
    strings = metadata.strings("tokens")
    types = metadata.numbers("token_type", strings.n_strings)
    return Vocabulary(metadata.path, strings, types, is_byte_level=is_byte_level)


def _finished(metadata: Metadata, kind: Kind, vocabulary: Vocabulary, model: Model) -> Tokenizer:
    """Special ids, special tokens and what is put around a text."""
    n_tokens = len(vocabulary)
    ids = {key: metadata.token(key, n_tokens, kind.ids.get(key)) for key in ("bos", "eos", "eot", "eom")}
    ids["pad"] = metadata.token("padding", n_tokens, kind.ids.get("padding"))
    ids["unknown"] = metadata.token("unknown", n_tokens, kind.ids.get("unknown"))
    ids["sep"] = metadata.token("seperator", n_tokens, kind.ids.get("seperator"))
    if kind is KINDS["bert"]:
        ids["bos"] = metadata.token("cls", n_tokens, ids["bos"])

    def find(name: str) -> int | None:
        found = vocabulary.find_written(name)
        return found if found != NOT_A_TOKEN else None

    if ids["eot"] is None:
        ids["eot"] = first_of(find, END_OF_TURN)
    stops = stop_ids(find, (ids["eos"], ids["eot"], ids["eom"]))
    for token, token_type in types_by_name(find).items():
        vocabulary.set_types((token,), token_type)
    prefix, suffix = _around(metadata, kind, ids)
    return Tokenizer(
        vocabulary=vocabulary,
        model=model,
        specials=SpecialTokens(_special_tokens(metadata, vocabulary)),
        ids=ids,
        prefix=prefix,
        suffix=suffix,
        stop_ids=stops,
        chat_template=metadata.text("tokenizer.chat_template"),
    )


def _around(metadata: Metadata, kind: Kind, ids: dict[str, int | None]) -> tuple[list[int], list[int]]:
    adds_bos = metadata.flag("add_bos_token", kind.adds_bos)
    adds_eos = metadata.flag("add_eos_token", kind.adds_eos)
    family = metadata.text(f"{PREFIX}model"), metadata.text(f"{PREFIX}pre")
    if family[0] == "gemma4" or family[1] == "gemma4":
        adds_bos = True
    if kind is KINDS["bert"]:
        adds_bos, adds_eos = True, False
    prefix = [ids["bos"]] if adds_bos else []
    suffix = [ids["eos"]] if adds_eos else []
    if kind is KINDS["bert"]:
        suffix = [ids["sep"]]
    if None in prefix or None in suffix:
        raise FormatError(metadata.path, None, "the file asks for BOS, EOS or SEP around texts and has no such token")
    return prefix, suffix  # type: ignore[return-value]


def _special_tokens(metadata: Metadata, vocabulary: Vocabulary) -> list[SpecialToken]:
    """The tokens that are found as written. In llama.cpp some of Phi-3's take the white space after them along."""
    takes_spaces = "phi-3" in (metadata.text("general.name") or "").lower().replace("phi3", "phi-3")
    keeps = ("<unk>", "<s>", "<|endoftext|>")
    specials = []
    for token in vocabulary.of_types((UNKNOWN, CONTROL, USER_DEFINED)):
        text = vocabulary.written(token)
        is_always = vocabulary.types[token] == USER_DEFINED
        special = SpecialToken.plain(token, text, is_always=is_always)
        specials.append(special._replace(strips_right=ASCII_SPACES) if takes_spaces and text not in keeps else special)
    return specials


def _byte_level(metadata: Metadata, kind: Kind) -> Tokenizer:
    name = metadata.text(f"{PREFIX}pre") or "default"
    family = FAMILIES.get(name)
    if family is None:
        raise UnsupportedError(f"{metadata.path}: pre-tokenizer {name!r}", FAMILIES)
    if family.is_by_character:
        return _by_character(metadata, kind)
    vocabulary = _vocabulary(metadata, is_byte_level=True)
    vocabulary.use_merges(metadata.strings("merges"))
    vocabulary.use_byte_tokens(vocabulary.find(bytes((value,))) for value in range(256))
    vocabulary.use_splitter(PreTokenizer(family.stages))
    if family.ignores_merges:
        vocabulary.use_flags("ignores_merges")
    return _finished(metadata, kind._replace(adds_bos=family.adds_bos), vocabulary, ByteLevel(vocabulary))


def _by_character(metadata: Metadata, kind: Kind) -> Tokenizer:
    """Merges over characters, U+2581 for spaces, split at line feeds only: Gemma 4 and its like."""
    vocabulary = _vocabulary(metadata)
    vocabulary.use_merges(metadata.strings("merges"))
    vocabulary.use_byte_tokens(vocabulary.find_byte_tokens())
    vocabulary.use_flags("by_character", "whole_lines")
    vocabulary.use_splitter(PreTokenizer(FAMILIES["gemma4"].stages))
    return _finished(metadata, kind, vocabulary, SentencePiece(vocabulary, prefix=NEVER, strips_first=False))


def _by_score(metadata: Metadata, kind: Kind) -> Tokenizer:
    vocabulary = _vocabulary(metadata)
    scores = metadata.numbers("scores", len(vocabulary))
    vocabulary.use_scores([0.0] * len(vocabulary) if scores is None else scores)
    vocabulary.use_byte_tokens(vocabulary.find_byte_tokens())
    vocabulary.use_unknown(metadata.token("unknown", len(vocabulary), 0) or 0)
    vocabulary.use_flags("by_character", "by_score")
    if not vocabulary.joins_across("▁"):
        vocabulary.use_splitter(PreTokenizer((WORD_STAGE,)))
    has_prefix = metadata.flag("add_space_prefix", True)
    prefix = AT_STARTS if has_prefix else NEVER
    return _finished(metadata, kind, vocabulary, SentencePiece(vocabulary, prefix=prefix, strips_first=has_prefix))


def _unigram(metadata: Metadata, kind: Kind) -> Tokenizer:
    from realizar_lambda.tokenizers.charsmap import Charsmap, Normalizer
    from realizar_lambda.tokenizers.models import ALWAYS, Unigram

    vocabulary = _vocabulary(metadata)
    scores = metadata.numbers("scores", len(vocabulary))
    if scores is None:
        raise FormatError(metadata.path, None, f"{PREFIX}scores is not there, a unigram vocabulary needs it")
    weights = [float(score) for score in scores]
    for token, kind_of_token in enumerate(vocabulary.types):
        if kind_of_token == USER_DEFINED:
            weights[token] = 0.0
        elif kind_of_token not in (NORMAL, UNUSED):
            weights[token] = float("-inf")
    normal = [weights[token] for token in vocabulary.of_types((NORMAL,))] or [0.0]
    vocabulary.use_weights(weights)
    vocabulary.use_flags("fuses_unknown")
    vocabulary.use_unknown(metadata.token("unknown", len(vocabulary), 2) or 0)
    blob = metadata.numbers("precompiled_charsmap")
    removes_extra_spaces = metadata.flag("remove_extra_whitespaces", False)
    normalizer = Normalizer(
        Charsmap(metadata.path, blob.tobytes()) if blob is not None and len(blob) else None,
        removes_extra_spaces=removes_extra_spaces,
        kept=tuple(vocabulary.text(token).decode("utf-8", "replace") for token in vocabulary.of_types((USER_DEFINED,))),
    )
    # Where spaces are merged llama.cpp begins every word with one, the first too, whatever the prefix is to be.
    has_prefix = metadata.flag("add_space_prefix", False) or removes_extra_spaces
    model = Unigram(
        vocabulary,
        prefix=ALWAYS if has_prefix else NEVER,
        strips_first=has_prefix,
        normalize=normalizer,
        unknown_weight=min(normal) - 10.0,
    )
    return _finished(metadata, kind, vocabulary, model)


def _word_piece(metadata: Metadata, kind: Kind) -> Tokenizer:
    from realizar_lambda.tokenizers.models import WordPiece
    from realizar_lambda.tokenizers.words import WordSplitter

    vocabulary = _vocabulary(metadata)
    vocabulary.use_unknown(metadata.token("unknown", len(vocabulary), 100) or 0)
    is_lower = metadata.flag("normalizer.lowercase", True)
    splitter = WordSplitter(
        is_lower=is_lower,
        strips_accents=metadata.flag("normalizer.strip_accents", is_lower),
        decomposes_fully=False,
    )
    return _finished(metadata, kind, vocabulary, WordPiece(vocabulary, splitter, mark="▁", max_characters=1 << 29))


KINDS = {
    "gpt2": Kind(_byte_level, {"bos": 11, "eos": 11}),
    "gemma4": Kind(_by_character, {}, True),
    "llama": Kind(_by_score, {"bos": 1, "eos": 2, "unknown": 0}, True),
    "t5": Kind(_unigram, {"eos": 1, "unknown": 2, "padding": 0}, False, True),
    "bert": Kind(_word_piece, {"bos": 101, "unknown": 100, "seperator": 102, "padding": 0}, True),
}
"""What `tokenizer.ggml.model` may be."""
