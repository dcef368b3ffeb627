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
from realizar_lambda.errors import CapacityError, RequestError
from realizar_lambda.generation.text_model import TextModel
from realizar_lambda.ops import DENSE_BLOCKS
from realizar_lambda.program import ELEMENT_BYTES, Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.tensor import Tensor

DEFAULT_CHUNK = 256
"""Tokens prefilled at a time: weights are unpacked once per chunk, and working memory grows with it."""

_teams: dict[tuple[int, int], native.Team] = {}


def shared_team(n_threads: int) -> native.Team:
    """The process's team of this size; models share it, since one program runs at a time."""
    key = (os.getpid(), n_threads)
    if key not in _teams:
        _teams[key] = native.Team(n_threads, native.library())
    return _teams[key]


_turn = allocate_lock()
"""Held while a team runs a program: callers' threads take turns, a token or a chunk each."""


class LanguageModel(TextModel):
    """A loaded decoder. `config` is its numbers, `tensors` its weights by the file's names, still in the file.

    `n_threads` defaults to REALIZAR_THREADS, else one per CPU this process may use; `cache_element` is "f16", or
    "f32": the default where no weight is quantised, so that the cache is not what rounds most.
    """

    def __init__(
        self, file: ModelFile, *, name: str, n_threads: int | None = None, cache_element: str | None = None
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
        self._cache_element = cache_element or ("f32" if is_dense else "f16")
        self.team = shared_team(n_threads or native.n_threads_from(os.environ))

    @classmethod
    def open(cls, path: str, *, n_threads: int | None = None, cache_element: str | None = None) -> LanguageModel:
        """Open a model file, or a folder of Hugging Face's; its name is the file's without folder and suffix."""
        from realizar_lambda.formats import open_model

        stem = path.rstrip("/").rpartition("/")[2].partition(".")[0]
        return cls(open_model(path), name=stem, n_threads=n_threads, cache_element=cache_element)

    def context(self, capacity: int | None = None, *, chunk: int = DEFAULT_CHUNK) -> Context:
        """An empty context for `capacity` tokens (the model's own length by default)."""
        return Context(self, capacity or self.config.context_length, chunk=chunk)

    def logits(self, token_ids: Sequence[int]) -> memoryview[Any]:
        """The logits (n_tokens, n_vocab) f32 after each token, in a context that is gone afterwards."""
        ids = self.checked(token_ids)
        context = self.context(len(ids))
        out = memoryview(bytearray(len(ids) * self.n_vocab * 4))
        context.evaluate_all(ids, out)
        return out.cast("f", (len(ids), self.n_vocab))

    def checked(self, token_ids: Sequence[int]) -> array[int]:
        """The ids as an array, each within the vocabulary; RequestError names the first that is not."""
        n = self.n_vocab
        try:
            ids = array("i", token_ids)
        except (TypeError, OverflowError):
            ids = array("i", [-1])
        if not len(ids):
            raise RequestError(400, "token_ids must hold at least one id, got none", "token_ids")
        if min(ids) < 0 or max(ids) >= n:
            for i, value in enumerate(token_ids):
                if type(value) is not int or not 0 <= value < n:
                    raise RequestError(
                        400, f"token_ids[{i}] must be an integer in [0, {n}), got {value!r:.60}", "token_ids"
                    )
        return ids


class Context:
    """A KV cache of `capacity` positions with the working memory of one caller. One call at a time."""

    def __init__(self, model: LanguageModel, capacity: int, *, chunk: int) -> None:
        self.model = model
        self.capacity = capacity
        self.ids: array[int] = array("i")
        program, ids = families.build(
            model._description, capacity=capacity, chunk=chunk, cache_element=model._cache_element,
            n_threads=model.team.n_threads,
        )  # fmt: skip
        self.program = program
        caches = [buffer for buffer in program.buffers if buffer.is_cache]
        self.n_cache_bytes = sum(buffer.n_bytes for buffer in caches)
        self._cache = memoryview(native.allocate(self.n_cache_bytes))
        parts, start = {}, 0
        for buffer in caches:
            parts[buffer.name] = self._cache[start : start + buffer.n_bytes]
            start += buffer.n_bytes
        self._session = Session(program, model.team, caches=parts)
        self._ids_at = ids
        self._chunk = program.sections["main"].max_tokens
        self._into = self._session.view(ids, self._chunk)
        self._logits = self._session.view(program.output, HEAD_ROWS)
        self._last_logits = self._logits[: model.n_vocab]
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
        self._room_for(len(ids))
        for begin in range(0, len(ids), self._chunk):
            self._prefill(ids[begin : begin + self._chunk], is_last=begin + self._chunk >= len(ids))
        return self._last_logits

    def append(self, token_ids: Sequence[int]) -> None:
        """As `evaluate`, where the logits are not wanted."""
        ids = self.model.checked(token_ids)
        self._room_for(len(ids))
        for begin in range(0, len(ids), self._chunk):
            self._prefill(ids[begin : begin + self._chunk], is_last=False)

    def step(self, token_id: int) -> memoryview[Any]:
        """As `evaluate` of one id that is known to be in the vocabulary."""
        position = len(self.ids)
        self._room_for(1)
        self._into[0] = token_id
        with _turn:
            self._session.run(1, position, first="main", last="head")
        self.ids.append(token_id)
        return self._last_logits

    def evaluate_all(self, ids: array[int], out: memoryview[Any]) -> None:
        """Append tokens and write the logits after each to `out`, n_tokens * n_vocab f32 as bytes."""
        self._room_for(len(ids))
        row_bytes, width = self.model.n_vocab * 4, self._stream.width
        written = 0
        logits = self._logits.cast("B")
        for begin in range(0, len(ids), self._chunk):
            part = ids[begin : begin + self._chunk]
            self._prefill(part, is_last=False)
            stream = self._session.view(self._stream, len(part))
            for row in range(0, len(part), HEAD_ROWS):
                n = min(HEAD_ROWS, len(part) - row)
                self._session.view(self._last, n)[:] = stream[row * width : (row + n) * width]
                with _turn:
                    self._session.run(n, first="head")
                out[written : written + n * row_bytes] = logits[: n * row_bytes]
                written += n * row_bytes

    def _prefill(self, ids: array[int], *, is_last: bool) -> None:
        n, position = len(ids), len(self.ids)
        self._into[:n] = memoryview(ids)
        with _turn:
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
        if not 0 <= n_tokens <= len(self.ids):
            raise CapacityError("truncate", n_tokens, len(self.ids), "tokens")
        del self.ids[n_tokens:]


def cache_bytes(config: Config, capacity: int, element: str) -> int:
    """What the KV cache of a context takes."""
    return int(2 * config.n_layers * config.n_kv_heads * config.head_width * capacity * ELEMENT_BYTES[element])
