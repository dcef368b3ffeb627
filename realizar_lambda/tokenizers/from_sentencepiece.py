"""A tokenizer out of a SentencePiece `.model` file, doing what the sentencepiece library does with it.

    ModelProto       1 pieces, 2 trainer spec, 3 normalizer spec
    SentencePiece    1 piece, 2 score f32, 3 type
    TrainerSpec      3 model type, 24 white space as suffix, 35 byte fallback, 40 to 43 ids of unk, bos, eos, pad
    NormalizerSpec   2 compiled charsmap, 3 dummy prefix, 4 remove extra white space, 5 escape white space

https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

from array import array
from collections import namedtuple

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.model_file import map_file
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


class Piece(namedtuple("Piece", "text score type", defaults=(b"", 0.0, NORMAL))):
    """An entry of the vocabulary."""

    __slots__ = ()


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
    strings = PackedStrings.from_bytes(piece.text for piece in pieces)
    vocabulary = Vocabulary(path, strings, [piece.type for piece in pieces])
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
        vocabulary.use_scores([piece.score for piece in pieces], never_joined=never)
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


def _read(path: str, data: memoryview) -> tuple[list[Piece], Spec]:
    pieces: list[Piece] = []
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    charsmap = b""
    for number, kind, offset, value in fields(path, data):
        if kind != BYTES or isinstance(value, int):
            continue
        if number == 1:
            pieces.append(_piece(path, value, offset))
            if len(pieces) > MAX_TOKENS:
                raise FormatError(path, offset, f"more than {MAX_TOKENS} pieces")
        elif number == 2:
            trainer.update(_numbers(path, value, offset))
        elif number == 3:
            normalizer.update(_numbers(path, value, offset))
            for inner, inner_kind, _, text in fields(path, value, offset):
                if inner == 2 and inner_kind == BYTES and isinstance(text, memoryview):
                    charsmap = bytes(text)
    return pieces, Spec(trainer, normalizer, charsmap)


def _piece(path: str, data: memoryview, offset: int) -> Piece:
    piece = Piece()
    for number, _, _, value in fields(path, data, offset):
        if number == 1 and isinstance(value, memoryview):
            piece = piece._replace(text=bytes(value))
        elif number == 2:
            piece = piece._replace(score=float_of(value))
        elif number == 3 and isinstance(value, int):
            piece = piece._replace(type=value)
    return piece


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


def _weights(pieces: list[Piece]) -> tuple[list[float], float]:
    """Weights of the tokens and of what is unknown, as sentencepiece makes them of the scores.

    Scores are logarithms of probabilities, so the user's own tokens, which weigh nothing or more, always win.
    """
    scores = [piece.score for piece in pieces if piece.type == NORMAL] or [0.0]
    weights = []
    for piece in pieces:
        if piece.type == NORMAL:
            weights.append(piece.score)
        elif piece.type == USER_DEFINED:
            weights.append(array("f", [0.1 * (len(piece.text) - 1)])[0])
        else:
            weights.append(float("-inf"))
    return weights, min(scores) - UNKNOWN_PENALTY
