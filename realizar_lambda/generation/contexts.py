"""The contexts that a model keeps between generations, so that a shared prefix is computed once.

A context is kept under the share key of the request that used it, and only a request with the same key goes on from
it: neither what a caller wrote nor how long an answer took tells another caller anything. Key None shares with
nobody. What a context held is forgotten, and is never attended to again, before another key uses its memory. The
snapshots that the operator gave are for every key.

Going on from a prefix gives the same bits as computing it: a token's keys and values do not depend on the batch that
it is in, as long as that has MIN_BATCH tokens (a test holds the kernels to it), so prompts are computed in such
batches only, and what was computed a token at a time, the completion, is not gone on from.
"""

from __future__ import annotations

from _thread import allocate_lock

from realizar_lambda.errors import CapacityError
from realizar_lambda.ops import MIN_TILE_TOKENS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

    from realizar_lambda.generation.snapshot import Snapshot
    from realizar_lambda.language_model import Context, LanguageModel

MIN_BATCH = MIN_TILE_TOKENS
MAX_KEPT = 4
MAX_BYTES = 256 << 20
LEAST_CAPACITY = 512


class ContextPool:
    """The idle contexts of one model, those least recently used out first. Safe to share between threads.

    At most `max_kept` are kept, and of keys and values at most `max_bytes`, but one context in any case.
    """

    __slots__ = ("_idle", "_lock", "_max_bytes", "_max_kept", "_model", "_snapshots")

    def __init__(self, model: LanguageModel, *, max_kept: int = MAX_KEPT, max_bytes: int = MAX_BYTES) -> None:
        self._model = model
        self._max_kept = max_kept
        self._max_bytes = max_bytes
        self._idle: list[tuple[str | None, Context]] = []  # in the order of last use
        self._snapshots: list[Snapshot] = []
        self._lock = allocate_lock()

    def add(self, snapshot: Snapshot) -> None:
        """Let every request that begins as the snapshot does go on from it."""
        with self._lock:
            self._snapshots.append(snapshot)

    def take(self, ids: array[int], n_tokens: int, share_key: str | None) -> Context:
        """A context with room for `n_tokens`, which holds the longest beginning of `ids` that this key has left.

        At least the last MIN_BATCH of the ids are not in it, since the last one's logits are wanted. Raises
        CapacityError where there is no memory for one.
        """
        with self._lock:
            place, n_shared = self._best(ids, n_tokens, share_key)
            snapshot = max(self._snapshots, key=lambda known: n_common(known.token_ids, ids), default=None)
            n_stored = 0 if snapshot is None else _usable(n_common(snapshot.token_ids, ids), ids)
            if n_stored > n_shared:
                place = None
            elif place is None:
                place = self._spare(n_tokens)
            context = None if place is None else self._idle.pop(place)[1]
        if context is not None and context.capacity >= n_tokens:
            context.truncate(n_shared)
            return context
        try:
            if snapshot is not None and n_stored:
                from realizar_lambda.generation.snapshot import restore

                context = restore(snapshot, self._model, capacity=self._capacity(n_tokens, snapshot.capacity))
                context.truncate(n_stored)
                return context
            return self._model.context(self._capacity(n_tokens))
        except (OSError, MemoryError) as error:
            raise CapacityError("a context that the system has no memory for", n_tokens, 0, "tokens") from error

    def _capacity(self, n_tokens: int, least: int = LEAST_CAPACITY) -> int:
        """A capacity of at least `n_tokens`, one of few, so that contexts fit other requests too."""
        capacity = least
        while capacity < n_tokens:
            capacity *= 2
        length: int = self._model.config.context_length
        return min(capacity, length)

    def give(self, context: Context, share_key: str | None, *, n_prompt: int) -> None:
        """Keep a context that is no longer in use, with the first `n_prompt` tokens of what it holds."""
        n_prompt = min(n_prompt, context.position)
        context.truncate(0 if share_key is None or n_prompt < MIN_BATCH else n_prompt)
        with self._lock:
            self._idle.append((share_key, context))
            while len(self._idle) > 1 and (len(self._idle) > self._max_kept or self._n_bytes() > self._max_bytes):
                del self._idle[0]

    def _n_bytes(self) -> int:
        return sum(context.n_cache_bytes for _, context in self._idle)

    def clear(self) -> None:
        """Forget every idle context."""
        with self._lock:
            self._idle.clear()

    def _best(self, ids: array[int], n_tokens: int, share_key: str | None) -> tuple[int | None, int]:
        """The place of the context to go on from and how many ids it shares; (None, 0) where there is none.

        A context that would lose more than it gives is left to who may come back to it.
        """
        best, n_best = None, 0
        for place, (key, context) in enumerate(self._idle):
            if key == share_key and key is not None and context.capacity >= n_tokens:
                n = n_common(context.ids, ids)
                if n > n_best and 2 * n >= len(context.ids):
                    best, n_best = place, n
        return best, _usable(n_best, ids)

    def _spare(self, n_tokens: int) -> int | None:
        """The place of a context that holds nothing, or of the least recently used where no more are kept."""
        for place, (_, context) in enumerate(self._idle):
            if not context.ids and context.capacity >= n_tokens:
                return place
        return 0 if len(self._idle) >= self._max_kept else None


def prefill_parts(n_tokens: int, most: int) -> list[int]:
    """Sizes of at most `most` (2 * MIN_BATCH or more) that add up to `n_tokens`, none below MIN_BATCH but one alone."""
    sizes = []
    while n_tokens > most:
        size = most if n_tokens - most >= MIN_BATCH else most - MIN_BATCH
        sizes.append(size)
        n_tokens -= size
    return [*sizes, n_tokens]


def _usable(n_shared: int, ids: array[int]) -> int:
    return max(min(n_shared, len(ids) - MIN_BATCH), 0)


def n_common(a: array[int], b: array[int]) -> int:
    """How many ids two sequences have in common from their beginnings."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
