"""How probable given tokens were, by the logits before them. It knows no model."""

from __future__ import annotations

from array import array

from realizar_lambda import native, ops
from realizar_lambda.errors import CapacityError, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def score(
    logits: memoryview[Any], targets: array[int], *, n_vocab: int, library: native.Library | None = None
) -> array[float]:
    """The log-probabilities (n_tokens,) of `targets` (n_tokens,) by `logits` (n_tokens, n_vocab) f32.

    `targets` is an array of "i". Raises RequestError for an id outside the vocabulary and for logits that are NaN or
    infinite, CapacityError where the logits are of another size.
    """
    n = len(targets)
    if logits.nbytes != 4 * n * n_vocab or targets.typecode != "i":
        raise CapacityError("logits of f32", 4 * n * n_vocab, logits.nbytes)
    scores = array("d", bytes(8 * n))
    if not n:
        return scores
    if not 0 <= min(targets) <= max(targets) < n_vocab:
        raise RequestError(400, f"ids must be in [0, {n_vocab}), got {min(targets)} to {max(targets)}", "token_ids")
    scratch = native.allocate(ops.sampling_scratch_bytes(n_vocab))
    fault = (library or native.library()).score(
        *map(native.address, (scores, logits, targets)), n, n_vocab, native.address(scratch)
    )
    if fault >= 0:
        raise RequestError(500, f"the model's logits must be finite, those of token {fault} are not")
    return scores
