"""A language model over token ids: logits, and contexts that remember. What it does with text is inherited.

llm = LanguageModel.open("stories.gguf")
llm.generate("Once upon a time")        and the rest of generation/text_model.py
llm.logits([1, 403, 407])               (n_tokens, n_vocab) f32: numpy.asarray works on it
context = llm.context(capacity=512)     a KV cache and working memory of its own
context.evaluate([1, 403, 407])         (n_vocab,) f32: the logits after the last of these
context.evaluate([261])                 one token more
context.truncate(2)                     forget all but the first two
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from array import array

from realizar_lambda import native
from realizar_lambda.architectures import families
from realizar_lambda.architectures.decoder import HEAD_ROWS
from realizar_lambda.errors import CapacityError, RequestError, UnsupportedError
from realizar_lambda.generation.text_model import TextModel
from realizar_lambda.ops import DENSE_BLOCKS, MIN_TILE_TOKENS
from realizar_lambda.program import ELEMENT_BYTES
from realizar_lambda.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.program import Buffer, Program
    from realizar_lambda.tensor import Tensor

DEFAULT_CHUNK = 256
"""Tokens prefilled at a time: weights are unpacked once per chunk, and working memory grows with it."""

CACHE_ELEMENTS = ("f16", "f32")

_teams: dict[tuple[int, int, str], native.Team] = {}


def shared_team(n_threads: int, library: native.Library) -> native.Team:
    """The process's team of this size; models share it, since one program runs at a time."""
    key = (os.getpid(), n_threads, library.path)
    if key not in _teams:
        _teams.setdefault(key, native.Team(n_threads, library))
    return _teams[key]


class LanguageModel(TextModel):
    """A loaded decoder. `config` is its numbers, `tensors` its weights by the file's names, still in the file.

    `n_threads` defaults to REALIZAR_THREADS, else one per CPU this process may use; `cache_element` is "f16", or
    "f32": the default where no weight is quantised, so that the cache is not what rounds most; `library` defaults
    to the best for this CPU. Several threads may use a model at once, each with a context of its own: their calls
    take turns. Raises FormatError and UnsupportedError for a file that is no model we can run.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        name: str,
        n_threads: int | None = None,
        cache_element: str | None = None,
        library: native.Library | None = None,
    ) -> None:
        self.model_file = file
        self.name = name
        self._description = families.describe(file)
        self.config: Config = self._description.config
        self.tensors: Mapping[str, Tensor] = file.tensors
        self.description = str(file.metadata.get("general.description", ""))
        self.architecture = self.config.architecture
        self.n_vocab = self.config.n_vocab
        is_dense = all(tensor.block.name in DENSE_BLOCKS for tensor in file.tensors.values())
        self.cache_element = cache_element or ("f32" if is_dense else "f16")
        if self.cache_element not in CACHE_ELEMENTS:
            raise UnsupportedError(f"a KV cache of {self.cache_element!r:.20}", CACHE_ELEMENTS)
        n_threads = native.n_threads_from(os.environ) if n_threads is None else n_threads
        if not 1 <= n_threads <= native.MAX_THREADS:
            raise UnsupportedError(f"a team of {n_threads} threads", f"1 to {native.MAX_THREADS}")
        self.team = shared_team(n_threads, library or native.library())
        self._built: dict[tuple[int, int], tuple[Program, Buffer]] = {}
        self.program(self.config.context_length, DEFAULT_CHUNK)

    @classmethod
    def open(
        cls,
        path: str,
        *,
        n_threads: int | None = None,
        cache_element: str | None = None,
        library: native.Library | None = None,
        huge_pages: bool = False,
    ) -> LanguageModel:
        """Open a model file, or a folder of Hugging Face's; its name is the file's without folder and suffix.

        `huge_pages` is as `realizar_lambda.load` has it.
        """
        from realizar_lambda.formats import open_model

        if huge_pages:
            from realizar_lambda.formats.huge_pages import can_have, warn

            huge_pages = can_have(warn)
        stem = path.rstrip("/").rpartition("/")[2].partition(".")[0]
        file = open_model(path, huge_pages=huge_pages, read_ahead=True)
        return cls(file, name=stem, n_threads=n_threads, cache_element=cache_element, library=library)

    def program(self, capacity: int, chunk: int) -> tuple[Program, Buffer]:
        """(program, buffer of token ids) for contexts of this capacity; the last one built is kept."""
        built = self._built.get((capacity, chunk))
        if built is None:
            built = families.build(
                self._description, capacity=capacity, chunk=chunk, cache_element=self.cache_element,
                n_threads=self.team.n_threads,
            )  # fmt: skip
            self._built = {(capacity, chunk): built}
        return built

    def context(self, capacity: int | None = None, *, chunk: int = DEFAULT_CHUNK) -> Context:
        """An empty context for `capacity` tokens (the model's own length by default), prefilled `chunk` at a time.

        Raises CapacityError where the model has no such length, or the memory is more than the machine has, and
        RequestError for a capacity or a chunk that is no integer.
        """
        for name, value in (("capacity", capacity), ("chunk", chunk)):
            if isinstance(value, bool) or not (value is None or hasattr(value, "__index__")):
                raise RequestError(422, f"{name} must be an integer, got {value!r:.40}", name)
        return Context(self, self.config.context_length if capacity is None else capacity, chunk=chunk)

    def logits(self, token_ids: Sequence[int]) -> memoryview[Any]:
        """The logits (n_tokens, n_vocab) f32 after each token, in a context that is gone afterwards."""
        ids = self.checked(token_ids)
        context = self.context(len(ids))
        out = memoryview(native.allocate(len(ids) * self.n_vocab * 4))
        context.evaluate_all(ids, out)
        return out.cast("f", (len(ids), self.n_vocab))

    def checked(self, token_ids: Sequence[int]) -> array[int]:
        """The ids as an array, each within the vocabulary; RequestError names the first that is not."""
        n = self.n_vocab
        try:
            values = list(token_ids)
        except TypeError:
            values = []
        if not values:
            text = f"token_ids must be a list of at least one id, got {token_ids!r:.60}"
            raise RequestError(400, text, "token_ids")
        try:
            ids = array("i", values if bool not in set(map(type, values)) else [-1])
        except (TypeError, OverflowError):
            ids = array("i", [-1])
        if min(ids) < 0 or max(ids) >= n:
            at = next((i for i, value in enumerate(values) if not _is_id(value, n)), 0)
            text = f"token_ids[{at}] must be an integer in [0, {n}), got {values[at]!r:.60}"
            raise RequestError(400, text, "token_ids")
        return ids


def _is_id(value: Any, n_vocab: int) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and bool(0 <= value < n_vocab)


class Context:
    """A KV cache of `capacity` positions with the working memory of one caller.

    Calls from several threads take turns, so the answer of one may be overwritten by the next: share models, not
    contexts.
    """

    def __init__(
        self, model: LanguageModel, capacity: int, *, chunk: int = DEFAULT_CHUNK, cache: memoryview[Any] | None = None
    ) -> None:
        """`cache` is writable memory for keys and values, of exactly their size; it is made where it is not given.

        `few` is how many tokens are computed row by row and not in tiles: each then has the bits that it has alone.
        """
        self.model = model
        self.capacity = capacity
        self.ids: array[int] = array("i")
        self._lock = allocate_lock()
        program, ids = model.program(capacity, chunk)
        self.program = program
        caches = [buffer for buffer in program.buffers if buffer.is_cache]
        self.n_cache_bytes = sum(buffer.n_bytes for buffer in caches)
        self.cache: memoryview[Any] = memoryview(native.allocate(self.n_cache_bytes)) if cache is None else cache
        if self.cache.nbytes != self.n_cache_bytes or self.cache.readonly:
            raise CapacityError("the cache's memory", self.n_cache_bytes, self.cache.nbytes)
        parts, start = {}, 0
        for buffer in caches:
            parts[buffer.name] = self.cache[start : start + buffer.n_bytes]
            start += buffer.n_bytes
        self._session = Session(program, model.team, caches=parts)
        self._chunk = program.sections["main"].max_tokens
        self._into = self._session.view(ids, self._chunk)
        self._logits = self._session.view(program.output, HEAD_ROWS)
        self.few = min(MIN_TILE_TOKENS - 1, self._chunk)
        self._rows = [self._logits[row * model.n_vocab : (row + 1) * model.n_vocab] for row in range(self.few)]
        self._last_logits = self._rows[0]
        self._stream = next(buffer for buffer in program.buffers if buffer.name == "stream")
        self._last = next(buffer for buffer in program.buffers if buffer.name == "last")

    @property
    def position(self) -> int:
        """How many tokens the context holds."""
        return len(self.ids)

    @property
    def n_arena_bytes(self) -> int:
        """Working memory besides the KV cache."""
        return self._session.n_bytes

    def evaluate(self, token_ids: Sequence[int]) -> memoryview[Any]:
        """Append tokens; the logits (n_vocab,) f32 after the last, valid until the next call.

        Raises RequestError for an id outside the vocabulary and CapacityError where the context would overflow;
        the context is then as before.
        """
        ids = self.model.checked(token_ids)
        self._add(ids, wants_logits=True)
        return self._last_logits

    def append(self, token_ids: Sequence[int]) -> None:
        """As `evaluate`, where the logits are not wanted."""
        self._add(self.model.checked(token_ids), wants_logits=False)

    def step(self, token_id: int) -> memoryview[Any]:
        """As `evaluate` of one id, at the least cost."""
        if not 0 <= token_id < self.model.n_vocab:
            self.model.checked([token_id])
        with self._lock:
            self._room_for(1)
            self._into[0] = token_id
            self._session.run(1, len(self.ids), first="main", last="head")
            self.ids.append(token_id)
        return self._last_logits

    def step_each(self, token_ids: Sequence[int]) -> list[memoryview[Any]]:
        """As `step` of up to `few` ids, one after the other, to the bit: the logits (n_vocab,) f32 after each.

        The weights are read once for all of them.
        """
        ids = self.model.checked(token_ids)
        n = len(ids)
        if n > self.few:
            raise CapacityError("step_each", n, self.few, "tokens")
        with self._lock:
            self._room_for(n)
            self._into[:n] = memoryview(ids)
            self._session.run(n, len(self.ids), first="main")
            self._session.view(self._last, n)[:] = self._session.view(self._stream, n)
            self._session.run(n, first="head")
            self.ids.extend(ids)
        return self._rows[:n]

    def _add(self, ids: array[int], *, wants_logits: bool) -> None:
        with self._lock:
            self._room_for(len(ids))
            for begin in range(0, len(ids), self._chunk):
                is_last = wants_logits and begin + self._chunk >= len(ids)
                self._prefill(ids[begin : begin + self._chunk], is_last=is_last)

    def evaluate_all(self, ids: array[int], out: memoryview[Any]) -> None:
        """Append tokens and write the logits after each to `out`, n_tokens * n_vocab f32 as bytes."""
        row_bytes, width = self.model.n_vocab * 4, self._stream.width
        written = 0
        logits = self._logits.cast("B")
        with self._lock:
            self._room_for(len(ids))
            for begin in range(0, len(ids), self._chunk):
                part = ids[begin : begin + self._chunk]
                self._prefill(part, is_last=False)
                stream = self._session.view(self._stream, len(part))
                for row in range(0, len(part), HEAD_ROWS):
                    n = min(HEAD_ROWS, len(part) - row)
                    self._session.view(self._last, n)[:] = stream[row * width : (row + n) * width]
                    self._session.run(n, first="head")
                    out[written : written + n * row_bytes] = logits[: n * row_bytes]
                    written += n * row_bytes

    def _prefill(self, ids: array[int], *, is_last: bool) -> None:
        n, position = len(ids), len(self.ids)
        self._into[:n] = memoryview(ids)
        if n == 1 and is_last:
            self._session.run(1, position, first="main", last="head")
        else:
            self._session.run(n, position, first="main", last="last" if is_last else "main")
            if is_last:
                self._session.run(1, first="head")
        self.ids.extend(ids)

    def _room_for(self, n: int) -> None:
        if len(self.ids) + n > self.capacity:
            raise CapacityError("the context", len(self.ids) + n, self.capacity, "tokens")

    def truncate(self, n_tokens: int) -> None:
        """Forget all tokens but the first `n_tokens`."""
        with self._lock:
            if not 0 <= n_tokens <= len(self.ids):
                raise CapacityError("truncate", n_tokens, len(self.ids), "tokens")
            del self.ids[n_tokens:]


def cache_bytes(config: Config, capacity: int, element: str) -> int:
    """What the KV cache of a context takes."""
    return int(2 * config.n_layers * config.n_kv_heads * config.head_width * capacity * ELEMENT_BYTES[element])
