"""The pieces in a SentencePiece `tokenizer.model`, read from its protocol buffer; it does not tokenize.

    ModelProto          1: SentencePiece, repeated   2: TrainerSpec   3: NormalizerSpec
    SentencePiece       1: piece (text)   2: score (f32)   3: type (1 where absent)
    TrainerSpec         3: model_type (1 unigram, 2 BPE; 1 where absent)
                        40 unk_id (0)   41 bos_id (1)   42 eos_id (2)   43 pad_id (-1): defaults in brackets
    NormalizerSpec      3: add_dummy_prefix (true where absent)

https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from collections import namedtuple

from realizar_lambda.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_UNIGRAM = 1
_SPECIAL_IDS = {40: ("unknown", 0), 41: ("bos", 1), 42: ("eos", 2), 43: ("padding", -1)}


class Pieces(namedtuple("Pieces", "tokens scores types is_unigram special_ids adds_space")):
    """Text, score and type (numbered as GGUF's) by id; `special_ids` name -> id, of those there are."""

    __slots__ = ()


def read(path: str, data: bytes) -> Pieces:
    """The pieces in `data`, the bytes of the file `path`. Raises FormatError."""
    tokens, scores, types = [], [], []
    is_unigram, adds_space = True, True
    ids = dict(_SPECIAL_IDS.values())
    for number, value, at in _fields(path, data, 0, len(data)):
        if not isinstance(value, tuple):
            continue
        if number == 1:
            token, score, kind = _piece(path, data, *value, at)
            tokens.append(token)
            scores.append(score)
            types.append(kind)
        elif number == 2:
            for inner, setting, _ in _fields(path, data, *value):
                if inner == 3:
                    is_unigram = setting == _UNIGRAM
                elif inner in _SPECIAL_IDS and isinstance(setting, int):
                    ids[_SPECIAL_IDS[inner][0]] = setting - (1 << 64) if setting >> 63 else setting
        elif number == 3:
            for inner, setting, _ in _fields(path, data, *value):
                adds_space = bool(setting) if inner == 3 else adds_space
    if not tokens:
        raise FormatError(path, None, "there is no piece in the file; a tokenizer.model holds SentencePiece pieces")
    special_ids = {name: id for name, id in ids.items() if 0 <= id < len(tokens)}
    return Pieces(tokens, scores, types, is_unigram, special_ids, adds_space)


def _piece(path: str, data: bytes, start: int, stop: int, at: int) -> tuple[str, float, int]:
    token, score, kind = "", 0.0, 1
    for number, value, _ in _fields(path, data, start, stop):
        if number == 1 and isinstance(value, tuple):
            try:
                token = data[slice(*value)].decode("utf-8")
            except UnicodeDecodeError:
                raise FormatError(path, value[0], f"the piece {data[slice(*value)]!r:.60} is not UTF-8") from None
        elif number == 2 and isinstance(value, bytes):
            (score,) = struct.unpack("<f", value)
        elif number == 3 and isinstance(value, int):
            kind = value
    if not 1 <= kind <= 6:
        raise FormatError(path, at, f"the piece {token!r:.60} has type {kind}, types are 1 to 6")
    return token, score, kind


def _fields(path: str, data: bytes, start: int, stop: int) -> Iterator[tuple[int, int | bytes | tuple[int, int], int]]:
    """`(field number, value, position)`: an int, the bytes of a fixed field, or the range of a nested one."""
    position = start
    while position < stop:
        at = position
        key, position = _varint(path, data, position, stop)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, position = _varint(path, data, position, stop)
            yield number, value, at
            continue
        if wire == BYTES:
            size, position = _varint(path, data, position, stop)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            raise FormatError(path, at, f"a field has wire type {wire}, it must be 0, 1, 2 or 5")
        if size > stop - position:
            raise FormatError(path, at, f"field {number} is {size} bytes long, {stop - position} are left")
        yield number, (position, position + size) if wire == BYTES else data[position : position + size], at
        position += size


def _varint(path: str, data: bytes, position: int, stop: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= stop:
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (1 << 64) - 1, position
    raise FormatError(path, position, "a number does not end within 10 bytes or the field")
