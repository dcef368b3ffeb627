"""A tokenizer out of a SentencePiece `.model` file, doing what the sentencepiece library does with it.

    ModelProto       1 pieces, 2 trainer spec, 3 normalizer spec
    SentencePiece    1 piece, 2 score f32, 3 type
    TrainerSpec      3 model type, 24 white space as suffix, 35 byte fallback, 40 to 43 ids of unk, bos, eos, pad
    NormalizerSpec   2 compiled charsmap, 3 dummy prefix, 4 remove extra white space, 5 escape white space

https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from array import array

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.model_file import map_file
from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.charsmap import Charsmap, Normalizer
from realizar_lambda.tokenizers.models import AT_FIRST, NEVER, SentencePiece, Unigram
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
from realizar_lambda.tokenizers.pretokenizer_table import WORD_STAGE
from realizar_lambda.tokenizers.protobuf import BYTES, VARINT, fields, float_of, signed
from realizar_lambda.tokenizers.special_tokens import SpecialToken, SpecialTokens
from realizar_lambda.tokenizers.stop_tokens import END_OF_TURN, first_of
from realizar_lambda.tokenizers.strings import PackedStrings
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.vocabulary import (
    CONTROL,
    MAX_TOKENS,
    NORMAL,
    NOT_A_TOKEN,
    UNKNOWN,
    USER_DEFINED,
    Vocabulary,
)

UNIGRAM, BPE = 1, 2
MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "char"}
UNKNOWN_PENALTY = 10.0
PIECE, TEXT, SCORE, KIND = 0x0A, 0x0A, 0x15, 0x18
"""Keys of the fields that a piece is made of: number and wire type."""


class Pieces:
    """The vocabulary by id: bytes, scores and types."""

    __slots__ = ("scores", "texts", "types")

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.scores: list[float] = []
        self.types: list[int] = []


class Spec(namedtuple("Spec", "trainer normalizer charsmap")):
    """The number fields of the two specifications, by number, and the compiled charsmap's bytes."""

    __slots__ = ()


def from_file(path: str) -> Tokenizer:
    """The tokenizer in a `.model` file.

    BOS is put before a text where there is one; where there is none, EOS after it. Raises FormatError,
    UnsupportedError for models that are neither BPE nor unigram.
    """
    pieces, spec = _read(path, map_file(path))
    model_type = spec.trainer.get(3, UNIGRAM)
    if model_type not in (UNIGRAM, BPE):
        raise UnsupportedError(f"{path}: a {MODEL_TYPES.get(model_type, model_type)} model", "unigram and BPE models")
    if spec.trainer.get(24, 0):
        raise UnsupportedError(f"{path}: white space as a suffix of words", "white space as a prefix")
    if not spec.normalizer.get(5, 1):
        raise UnsupportedError(f"{path}: white space that is not escaped", "white space as U+2581")
    strings = PackedStrings.from_bytes(pieces.texts)
    vocabulary = Vocabulary(path, strings, pieces.types)
    ids = _special_ids(path, spec, len(vocabulary))
    if ids["unknown"] is not None:
        vocabulary.use_unknown(ids["unknown"])
    has_prefix = bool(spec.normalizer.get(3, 1))
    symbols = [
        SpecialToken.plain(token, vocabulary.written(token), is_always=True)
        for token in vocabulary.of_types((USER_DEFINED,))
    ]
    normalizer = Normalizer(
        Charsmap(path, spec.charsmap) if spec.charsmap else None,
        removes_extra_spaces=bool(spec.normalizer.get(4, 1)),
        kept=tuple(symbol.text for symbol in symbols),
    )
    prefix = AT_FIRST if has_prefix else NEVER
    flags = ["fuses_unknown"]
    if spec.trainer.get(35, 0):
        vocabulary.use_byte_tokens(vocabulary.find_byte_tokens())
        flags.append("by_character")
    model: SentencePiece
    if model_type == BPE:
        never = vocabulary.of_types((UNKNOWN, CONTROL))
        vocabulary.use_scores(pieces.scores, never_joined=never)
        vocabulary.use_flags("by_score", *{"by_character", *flags})
        if not vocabulary.joins_across("▁"):
            vocabulary.use_splitter(PreTokenizer((WORD_STAGE,)))
        model = SentencePiece(
            vocabulary,
            prefix=prefix,
            strips_first=has_prefix,
            normalize=normalizer,
            symbols=SpecialTokens(symbols) if symbols else None,
        )
    else:
        weights, unknown_weight = _weights(pieces)
        vocabulary.use_weights(weights)
        vocabulary.use_flags("single_precision", *flags)
        model = Unigram(
            vocabulary,
            prefix=prefix,
            strips_first=has_prefix,
            normalize=normalizer,
            unknown_weight=unknown_weight,
        )
    return _finished(vocabulary, model, ids)


def _finished(vocabulary: Vocabulary, model: SentencePiece, ids: dict[str, int | None]) -> Tokenizer:
    def find(name: str) -> int | None:
        found = vocabulary.find_written(name)
        return found if found != NOT_A_TOKEN else None

    ids["eot"] = first_of(find, END_OF_TURN)
    bos, eos = ids["bos"], ids["eos"]
    return Tokenizer(
        vocabulary=vocabulary,
        model=model,
        specials=SpecialTokens(
            SpecialToken.plain(token, vocabulary.written(token), is_always=False)
            for token in vocabulary.of_types((UNKNOWN, CONTROL))
        ),
        ids=ids,
        prefix=() if bos is None else (bos,),
        suffix=(eos,) if bos is None and eos is not None else (),
        stop_ids=[token for token in (eos, ids["eot"]) if token is not None],
    )


def _read(path: str, data: memoryview) -> tuple[Pieces, Spec]:
    whole = bytes(data)
    pieces, position = _plain_pieces(whole)
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    charsmap = b""
    for number, kind, offset, value in fields(path, data[position:], position):
        if kind != BYTES or isinstance(value, int):
            continue
        if number == 1:
            _add_piece(path, value, offset, pieces)
        elif number == 2:
            trainer.update(_numbers(path, value, offset))
        elif number == 3:
            normalizer.update(_numbers(path, value, offset))
            for inner, inner_kind, _, text in fields(path, value, offset):
                if inner == 2 and inner_kind == BYTES and isinstance(text, memoryview):
                    charsmap = bytes(text)
        if len(pieces.types) > MAX_TOKENS:
            raise FormatError(path, offset, f"more than {MAX_TOKENS} pieces")
    return pieces, Spec(trainer, normalizer, charsmap)


def _plain_pieces(data: bytes) -> tuple[Pieces, int]:
    """The pieces that a file begins with, as far as they are short and written in order, and where they end.

    This is all that the rest of this module does for a piece, ten times as fast; what it does not take is left.
    """
    pieces = Pieces()
    add_text, add_score, add_type = pieces.texts.append, pieces.scores.append, pieces.types.append
    position, n, unpack = 0, len(data), struct.Struct("<f").unpack_from
    while position + 2 <= n and data[position] == PIECE and data[position + 1] < 128:
        start = position + 2
        end = start + data[position + 1]
        if end > n or end < start + 7 or data[start] != TEXT or data[start + 1] >= 128:
            break
        after = start + 2 + data[start + 1]
        if after + 5 > end or data[after] != SCORE:
            break
        if after + 5 == end:
            add_type(NORMAL)
        elif after + 7 == end and data[after + 5] == KIND and data[after + 6] < 128:
            add_type(data[after + 6])
        else:
            break
        add_text(data[start + 2 : after])
        add_score(unpack(data, after + 1)[0])
        position = end
    return pieces, position


def _add_piece(path: str, data: memoryview, offset: int, pieces: Pieces) -> None:
    text, score, kind = b"", 0.0, NORMAL
    for number, _, _, value in fields(path, data, offset):
        if number == 1 and isinstance(value, memoryview):
            text = bytes(value)
        elif number == 2:
            score = float_of(value)
        elif number == 3 and isinstance(value, int):
            kind = value
    pieces.texts.append(text)
    pieces.scores.append(score)
    pieces.types.append(kind)


def _numbers(path: str, data: memoryview, offset: int) -> dict[int, int]:
    return {
        number: signed(value)
        for number, kind, _, value in fields(path, data, offset)
        if kind == VARINT and isinstance(value, int)
    }


def _special_ids(path: str, spec: Spec, n_tokens: int) -> dict[str, int | None]:
    ids: dict[str, int | None] = {}
    for name, field, default in (("unknown", 40, 0), ("bos", 41, 1), ("eos", 42, 2), ("pad", 43, -1)):
        token = spec.trainer.get(field, default)
        if token >= n_tokens:
            raise FormatError(path, None, f"the {name} id is {token}, ids are 0 to {n_tokens - 1}")
        ids[name] = token if token >= 0 else None
    return ids


def _weights(pieces: Pieces) -> tuple[list[float], float]:
    """Weights of the tokens and of what is unknown, as sentencepiece makes them of the scores.

    Scores are logarithms of probabilities, so the user's own tokens, which weigh nothing or more, always win.
    """
    never = float("-inf")
    weights = [score if kind == NORMAL else never for score, kind in zip(pieces.scores, pieces.types, strict=True)]
    lowest = min((weight for weight in weights if weight != never), default=0.0)
    for token, kind in enumerate(pieces.types):
        if kind == USER_DEFINED:
            weights[token] = array("f", [0.1 * (len(pieces.texts[token]) - 1)])[0]
    return weights, lowest - UNKNOWN_PENALTY
