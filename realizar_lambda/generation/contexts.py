"""The contexts that a model keeps between generations, so that a shared prefix is computed once.

A context is kept under the share key of the request that used it, and only a request with the same key goes on from
it: neither what a caller wrote nor how long an answer took tells another caller anything. Key None shares with
nobody. What a context held is forgotten, and is never attended to again, before another key uses its memory.
"""

from __future__ import annotations

from _thread import allocate_lock

from realizar_lambda.errors import CapacityError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array

    from realizar_lambda.language_model import Context, LanguageModel

MAX_KEPT = 4
LEAST_CAPACITY = 512


class ContextPool:
    """The idle contexts of one model, at most `max_kept`, those least recently used out first. Safe to share."""

    __slots__ = ("_idle", "_lock", "_max_kept", "_model")

    def __init__(self, model: LanguageModel, *, max_kept: int = MAX_KEPT) -> None:
        self._model = model
        self._max_kept = max_kept
        self._idle: list[tuple[str | None, Context]] = []  # in the order of last use
        self._lock = allocate_lock()

    def take(self, ids: array[int], n_tokens: int, share_key: str | None) -> Context:
        """A context with room for `n_tokens`, which holds the longest beginning of `ids` that this key has left.

        At least the last of the ids is not in it, since its logits are wanted. Raises CapacityError where there is no
        memory for one.
        """
        with self._lock:
            place, n_shared = self._best(ids, n_tokens, share_key)
            if place is None and len(self._idle) >= self._max_kept:
                place = 0
            context = self._idle.pop(place)[1] if place is not None else None
        if context is not None and context.capacity >= n_tokens:
            context.truncate(n_shared)
            return context
        capacity = LEAST_CAPACITY
        while capacity < n_tokens:
            capacity *= 2
        capacity = min(capacity, self._model.config.context_length)
        try:
            return self._model.context(capacity)
        except (OSError, MemoryError) as error:
            raise CapacityError("a context that the system has no memory for", capacity, 0, "tokens") from error

    def give(self, context: Context, share_key: str | None) -> None:
        """Keep a context that is no longer in use."""
        if share_key is None:
            context.truncate(0)
        with self._lock:
            self._idle.append((share_key, context))
            del self._idle[: -self._max_kept]

    def clear(self) -> None:
        """Forget every idle context."""
        with self._lock:
            self._idle.clear()

    def _best(self, ids: array[int], n_tokens: int, share_key: str | None) -> tuple[int | None, int]:
        """The place of the context to go on from and how many ids it shares; (None, 0) where there is none."""
        best, n_best = None, 0
        if share_key is not None:
            for place, (key, context) in enumerate(self._idle):
                if key == share_key and context.capacity >= n_tokens:
                    n = n_common(context.ids, ids)
                    if n > n_best:
                        best, n_best = place, n
        return best, min(n_best, len(ids) - 1)


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
