"""The tokens of a model over native tables: bytes and type by id, id by bytes, merges. It does not know files.

Encoding is one native call over one record of addresses, `ops.LEXICON`; this class owns what they point to and
has checked it.
"""

from __future__ import annotations

from _thread import allocate_lock
from array import array
from math import isfinite

from realizar_lambda import ops
from realizar_lambda.errors import FormatError
from realizar_lambda.native import address, allocate, library
from realizar_lambda.tokenizers.byte_level import BYTE_OF_CHARACTER, raw_bytes, written_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
    from realizar_lambda.tokenizers.strings import PackedStrings

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Token types, numbered as in GGUF and SentencePiece."""

NOT_A_TOKEN = -1
PLAIN_MARK = b"\xff"
MAX_TOKEN_BYTES = 8192
MAX_TOKENS = 1 << 22
MAX_TEXT_BYTES = 1 << 28
SMALL_SCRATCH = 1 << 16
"""Below it, zeroing memory is faster than mapping some: a short text took 5 us instead of 20."""
LAZY_MERGES = 100_000
"""As many take 7 ms to index, and a vocabulary that ignores merges can do without for many texts."""
SEEDS = (-3750763034362895579, 1181783497276652981, -7070675565921424023, 2685821657736338717)
_HEXADECIMAL = b"0123456789abcdefABCDEF"


class Vocabulary:
    """Tokens by id and by the bytes that text is matched with.

    Those bytes are the token's UTF-8, or in a byte-level vocabulary what its characters stand for; a byte-level
    token with a character that stands for no byte (`plain[id]` is 1) keeps its UTF-8, which the tables hold behind
    a byte PLAIN_MARK: text never meets it. `types[id]` is its type.
    """

    __slots__ = (
        "_address",
        "_kept",
        "_library",
        "_lock",
        "_merges",
        "_record",
        "_slots",
        "_starts",
        "_tokens",
        "is_byte_level",
        "path",
        "plain",
        "types",
    )

    def __init__(
        self, path: str, strings: PackedStrings, types: Sequence[int] | None, *, is_byte_level: bool = False
    ) -> None:
        """`types` defaults to NORMAL for all.

        Raises FormatError for a vocabulary without tokens or with too many, for equal tokens, for types that do
        not exist or are too few, for byte tokens that are not `<0xHH>`.
        """
        n_tokens = strings.n_strings
        if not 1 <= n_tokens <= MAX_TOKENS:
            raise FormatError(path, None, f"the vocabulary has {n_tokens} tokens, it must have 1 to {MAX_TOKENS}")
        self.path = path
        self.types = _checked_types(path, types, n_tokens)
        self.is_byte_level = is_byte_level
        self._library = library()
        self._record = array("q", bytes(8 * len(ops.LEXICON)))
        self._address = address(self._record)
        self._kept: dict[str, object] = {}
        self._lock = allocate_lock()
        self._merges: PackedStrings | None = None
        self._tokens = allocate(len(strings.data) - 7 * n_tokens)
        self._starts = memoryview(bytearray(4 * (n_tokens + 1))).cast("I")
        self.plain = bytearray(n_tokens)
        longest = self._library.gather(
            address(strings.data), n_tokens, self._byte_of(), *map(address, (self._tokens, self._starts, self.plain))
        )
        if longest > MAX_TOKEN_BYTES:
            raise FormatError(path, None, f"a token is {longest} bytes long, at most {MAX_TOKEN_BYTES} are possible")
        n_slots = _power_of_two(n_tokens)
        self._set(
            tokens=address(self._tokens),
            starts=address(self._starts),
            n_slots=n_slots,
            max_bytes=longest,
            unknown=NOT_A_TOKEN,
        )
        self._keep("byte_tokens", array("i", [NOT_A_TOKEN]) * 256)
        self._index(n_tokens)
        for token in self.of_types((BYTE,)):
            if not _is_byte(self.text(token)):
                raise FormatError(
                    path, None, f"byte token {token} is {self.text(token)[:60]!r}, they are <0x00> to <0xFF>"
                )

    def _index(self, n_tokens: int) -> None:
        """Fill the slots, with the first seed under which the hashes tell all tokens apart."""
        scratch = bytearray(8 * ops.LEXICON_BATCH)
        for seed in SEEDS:
            n_bytes = 8 * self._record[ops.LEXICON["n_slots"]]
            self._slots = allocate(n_bytes)
            self._set(seed=seed, slots=address(self._slots))
            clash = self._library.index_tokens(self._address, n_tokens, address(scratch))
            if clash >= 0:
                first, text = self.find(self.text(clash)), self.text(clash)
                raise FormatError(self.path, None, f"tokens {first} and {clash} are both {text[:60]!r}")
            if clash == -1:
                return
        raise FormatError(self.path, None, "the tokens are made to collide in a hash table, which is refused")

    def __len__(self) -> int:
        return len(self.types)

    def text(self, token: int) -> bytes:
        """The bytes of token `token`, which must be in the vocabulary."""
        start = self._starts[token] + (self.plain[token] if self.is_byte_level else 0)
        return self._tokens[start : self._starts[token + 1]]

    def written(self, token: int) -> str:
        """Token `token` as its file writes it."""
        text = self.text(token)
        if self.is_byte_level and not self.plain[token]:
            return written_bytes(text)
        return text.decode("utf-8", "replace")

    def find(self, text: bytes) -> int:
        """The id of the token with these bytes, or NOT_A_TOKEN."""
        found: int = self._library.holding.find(self._address, text, len(text))
        return found

    def find_written(self, text: str) -> int:
        """The id of the token that its file writes so, or NOT_A_TOKEN."""
        if not self.is_byte_level:
            return self.find(text.encode("utf-8", "replace"))
        try:
            return self.find(raw_bytes(text))
        except ValueError:
            return self.find(PLAIN_MARK + text.encode("utf-8", "replace"))

    def of_types(self, types: Iterable[int]) -> list[int]:
        """The ids of the tokens of these types, ascending."""
        found = []
        for kind in set(types):
            place = self.types.find(kind)
            while place >= 0:
                found.append(place)
                place = self.types.find(kind, place + 1)
        return sorted(found)

    def set_types(self, tokens: Iterable[int], kind: int) -> None:
        """Give tokens another type."""
        for token in tokens:
            self.types[token] = kind

    def joins_across(self, mark: str) -> bool:
        """Whether a token has `mark` behind something else: then merges join across the beginnings of words."""
        data = mark.encode()
        found: int = self._library.has_inner(self._address, len(self), data, len(data))
        return found >= 0

    def find_byte_tokens(self) -> list[int]:
        """For each byte the id of its token `<0xHH>`, else of the token that is this byte, else NOT_A_TOKEN."""
        named = [self.find(b"<0x%02X>" % value) for value in range(256)]
        return [found if found >= 0 else self.find(bytes((value,))) for value, found in enumerate(named)]

    def use_merges(self, merges: PackedStrings) -> None:
        """Join pairs of tokens in the order of `merges`, "left right" each.

        From LAZY_MERGES on they are indexed when a text first needs them. Raises FormatError for a merge whose parts
        or whole are not tokens, now or then.
        """
        self._merges = merges
        if merges.n_strings < LAZY_MERGES:
            self._index_merges()

    def _index_merges(self) -> None:
        with self._lock:
            if self._merges is None:
                return
            merges = self._merges
            n_pairs = _power_of_two(merges.n_strings)
            pairs = allocate(16 * n_pairs)
            record = self._record[:]
            record[ops.LEXICON["n_pairs"]] = n_pairs
            record[ops.LEXICON["pairs"]] = address(pairs)
            scratch = bytearray(24 * ops.LEXICON_BATCH)
            fault = self._library.index_merges(
                address(record), address(merges.data), merges.n_strings, self._byte_of(), address(scratch)
            )
            if fault == ops.CROWDED:
                raise FormatError(self.path, None, "the merges are made to collide in a hash table, which is refused")
            if fault >= 0:
                raise FormatError(
                    self.path,
                    None,
                    f"merge {fault} is {merges.at(fault)[:60]!r}; a merge is two tokens parted by a space, and the two "
                    "together are a token",
                )
            # Another thread may be encoding: it takes the table for there once its address is.
            self._set(n_pairs=n_pairs)
            self._keep("pairs", pairs)
            self._merges = None

    def use_scores(self, scores: Sequence[float], *, never_joined: Iterable[int] = ()) -> None:
        """Join neighbours in the order of falling scores of the joined token, (n_tokens,) f32.

        Raises FormatError for a score that is not finite.
        """
        kept = array("f")
        kept.frombytes(scores.cast("B")) if isinstance(scores, memoryview) else kept.extend(scores)
        _check_finite(self.path, kept)
        for token in never_joined:
            kept[token] = float("-inf")
        self._keep("scores", kept)

    def use_weights(self, weights: Sequence[float]) -> None:
        """Weights of unigrams, (n_tokens,) f64; a token of weight -inf is never taken.

        Raises FormatError for other weights that are not finite.
        """
        _check_finite(self.path, [weight for weight in weights if weight != float("-inf")])
        lengths = array("q", bytes(8 * 256))
        for token, weight in enumerate(weights):
            text = self.text(token)
            if text and weight > float("-inf"):
                lengths[text[0]] |= 1 << min(len(text), 62)
        self._keep("weights", array("d", weights))
        self._keep("lengths", lengths)

    def use_byte_tokens(self, tokens: Iterable[int]) -> None:
        """The token of each byte, or NOT_A_TOKEN, (256,)."""
        self._keep("byte_tokens", array("i", tokens))

    @property
    def unknown(self) -> int | None:
        """The token for what no token stands for, or None."""
        token = self._record[ops.LEXICON["unknown"]]
        return token if token >= 0 else None

    def use_unknown(self, token: int) -> None:
        """The token for what no token stands for; NOT_A_TOKEN drops it."""
        self._set(unknown=token)

    def use_flags(self, *names: str) -> None:
        """How text is encoded: names of `ops.LEXICON_FLAGS`."""
        self._set(flags=sum(ops.LEXICON_FLAGS[name] for name in names))

    def use_splitter(self, splitter: PreTokenizer) -> None:
        """Split text before merging."""
        self._kept["splitter"] = splitter
        self._keep("class_index", splitter.class_index)
        self._keep("class_pages", splitter.class_pages)
        self._keep("byte_classes", splitter.byte_classes)
        self._keep("stages", splitter.stages)
        self._set(n_classes=splitter.n_classes, n_stages=splitter.n_stages)

    def split(self, text: bytes) -> list[bytes]:
        """The pieces of valid UTF-8 within which `encode` merges."""
        spans = [memoryview(bytearray(8 * len(text) + 8)).cast("i") for _ in range(2)]
        classes = bytearray(len(text) + 1)
        n_pieces = self._library.split(self._address, text, len(text), address(classes), *map(address, spans))
        found = spans[self._record[ops.LEXICON["n_stages"]] % 2]
        return [text[found[2 * i] : found[2 * i + 1]] for i in range(n_pieces)]

    def encode(self, text: bytes) -> list[int]:
        """The tokens of valid UTF-8, split and merged. Raises FormatError where it is now found that merges are bad."""
        out, scratch = self._room(text)
        arguments = (self._address, text, len(text), address(out), address(scratch))
        n = self._library.encode(*arguments)
        if n == ops.NEEDS_MERGES:
            self._index_merges()
            n = self._library.encode(*arguments)
        return memoryview(out).cast("i")[:n].tolist()

    def encode_unigram(self, text: bytes, unknown_weight: float) -> list[int]:
        """The tokens of valid UTF-8 with the greatest sum of weights."""
        out, scratch = self._room(text)
        n = self._library.encode_unigram(self._address, text, len(text), unknown_weight, address(out), address(scratch))
        return memoryview(out).cast("i")[:n].tolist()

    def encode_words(self, text: bytes, max_characters: int) -> list[int]:
        """The pieces of words parted by single spaces, the longest token first."""
        out, _ = self._room(text)
        n = self._library.encode_words(self._address, text, len(text), max_characters, address(out))
        return memoryview(out).cast("i")[:n].tolist()

    def _room(self, text: bytes) -> tuple[bytearray, object]:
        n_bytes = ops.encode_scratch_bytes(len(text))
        return bytearray(4 * len(text) + 4), bytearray(n_bytes) if n_bytes < SMALL_SCRATCH else allocate(n_bytes)

    def _byte_of(self) -> int:
        return address(BYTE_OF_CHARACTER) if self.is_byte_level else 0

    def _set(self, **words: int) -> None:
        for name, value in words.items():
            self._record[ops.LEXICON[name]] = value

    def _keep(self, name: str, buffer: object) -> None:
        self._kept[name] = buffer
        self._set(**{name: address(buffer)})


def _check_finite(path: str, scores: Sequence[float]) -> None:
    if not all(map(isfinite, scores)):
        bad = next(i for i, score in enumerate(scores) if not isfinite(score))
        raise FormatError(path, None, f"score {bad} is {scores[bad]}, scores must be finite")


def _power_of_two(n: int) -> int:
    """The slots of a table for n entries: at most two thirds of them are taken."""
    return 1 << (n + n // 2).bit_length()


def _checked_types(path: str, types: Sequence[int] | None, n_tokens: int) -> bytearray:
    if types is None:
        return bytearray((NORMAL,)) * n_tokens
    if len(types) != n_tokens:
        raise FormatError(path, None, f"{n_tokens} tokens have {len(types)} types, each token has one")
    if isinstance(types, memoryview) and types.itemsize == 4:
        raw = bytes(types)
        low = raw[::4]
        is_sound = all(raw[i::4].count(0) == n_tokens for i in (1, 2, 3))
    else:
        is_sound = all(0 <= kind <= 255 for kind in types)
        low = bytes(types) if is_sound else b""
    is_sound = is_sound and not low.translate(None, bytes(range(BYTE + 1)))
    if not is_sound:
        token = next(i for i, kind in enumerate(types) if not 0 <= kind <= BYTE)
        raise FormatError(path, None, f"the type of token {token} is {types[token]}, types are 1 to 6")
    return bytearray(low)


def _is_byte(text: bytes) -> bool:
    """Whether `text` is `<0x..>`, two hexadecimal digits."""
    return len(text) == 6 and text[:3] == b"<0x" and text[5:] == b">" and not text[3:5].strip(_HEXADECIMAL)
