"""How well a model foresees a text: the exponential of the mean surprise per token. It knows no files."""

from __future__ import annotations

from math import exp, fsum

from realizar_lambda.errors import RequestError
from realizar_lambda.record import namedtuple
from realizar_lambda.sampling.scoring import score

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realizar_lambda.language_model import LanguageModel

SCORED_AT_A_TIME = 64


class Perplexity(namedtuple("Perplexity", "value n_scored mean_surprise")):
    """`value` is e**mean_surprise, the latter in nats per token over the `n_scored` tokens that were foreseen."""

    __slots__ = ()


def perplexity(
    model: LanguageModel,
    token_ids: Sequence[int],
    *,
    window: int | None = None,
    stride: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Perplexity:
    """The perplexity of a model over a text's ids, each but the first foreseen once.

    The text is read in windows of `window` tokens (the model's context by default), each `stride` tokens (half a
    window by default) after the one before; a window's first tokens, which the one before has scored, only give
    context. So every token is foreseen from at least `window - stride` tokens, where there are so many before it.
    `progress(n_scored, n_to_score)` is called after each window. Raises RequestError for settings that make no sense.
    """
    ids = model.checked(token_ids)
    if len(ids) < 2:
        raise RequestError(400, f"the text must have at least 2 tokens, it has {len(ids)}", "text")
    window = window or min(model.config.context_length, len(ids))
    stride = stride or max(window // 2, 1)
    if not 2 <= window <= model.config.context_length:
        raise RequestError(400, f"window must be in [2, {model.config.context_length}], got {window}", "window")
    if not 1 <= stride < window:
        raise RequestError(400, f"stride must be in [1, {window - 1}], got {stride}", "stride")
    context = model.context(window)
    logits = memoryview(bytearray(4 * model.n_vocab * min(SCORED_AT_A_TIME, window)))
    surprises: list[float] = []
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        n_known = len(surprises) + 1  # ids before this place are scored, or are the first
        context.truncate(0)
        if n_known - 1 > begin:
            context.append(ids[begin : n_known - 1])
        for place in range(n_known - 1, end - 1, SCORED_AT_A_TIME):
            part = ids[place : min(place + SCORED_AT_A_TIME, end - 1)]
            rows = logits[: 4 * model.n_vocab * len(part)]
            context.evaluate_all(part, rows)
            targets = ids[place + 1 : place + 1 + len(part)]
            surprises.extend(-value for value in score(rows, targets, n_vocab=model.n_vocab))
        if progress is not None:
            progress(len(surprises), len(ids) - 1)
        if end == len(ids):
            break
    mean = fsum(surprises) / len(surprises)
    return Perplexity(exp(mean) if mean < 700.0 else float("inf"), len(surprises), mean)
