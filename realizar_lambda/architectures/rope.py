"""The frequencies of rotary positions, plain and scaled for longer contexts. It knows no tensors' layout.

    plain     base**(-2i / n)
    linear    all divided by the factor (Chen and others, 2023)
    ntk       the base raised so that the slowest is divided by the factor and the fastest kept
    dynamic   as ntk, by as much as the context exceeds the original length (transformers' name)
    yarn      slow ones divided, fast ones kept, blended between; scores raised (Peng and others, 2023)
    llama3    as yarn by wavelength, without the raise (Llama 3.1)

A file may instead give each frequency's own divisor: `rope_freqs.weight`, or for long contexts
`rope_factors_long.weight` and `rope_factors_short.weight` (LongRoPE).
"""

from __future__ import annotations

from math import ceil, floor, log, pi

from realizar_lambda.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar_lambda.architectures.config import Rope

KINDS = ("none", "linear", "ntk", "dynamic", "yarn", "llama3", "longrope")


def frequencies(rope: Rope, divisors: Sequence[float] | None = None, *, capacity: int) -> tuple[list[float], float]:
    """(angle per position of each pair, factor on cosine and sine) in a context for `capacity` tokens."""
    if rope.kind not in KINDS:
        raise UnsupportedError(f"rotary scaling {rope.kind!r:.60}", KINDS)
    if rope.n_rotated % 2:
        raise UnsupportedError(f"rotating {rope.n_rotated} values of a head", "an even number")
    n, base, magnitude = rope.n_rotated, rope.base, rope.attention_factor
    stretch = _stretch(rope, capacity)
    if stretch != 1.0 and n > 2:
        base *= stretch ** (n / (n - 2))
    values = [base ** (-2.0 * i / n) for i in range(n // 2)]
    if divisors is not None:
        values = [value / divisor for value, divisor in zip(values, divisors, strict=True)]
    if rope.kind == "linear":
        values = [value / rope.factor for value in values]
    elif rope.kind == "yarn":
        values = _yarn(rope, values)
        magnitude *= 1.0 + 0.1 * log(rope.factor)
    elif rope.kind == "llama3":
        values = [_llama3(rope, value) for value in values]
    return values, magnitude


def _stretch(rope: Rope, capacity: int) -> float:
    """By how much the slowest turn is slowed by way of the base."""
    if rope.kind == "ntk":
        return float(rope.factor)
    if rope.kind == "dynamic" and capacity > rope.original_context:
        return float(rope.factor * capacity / rope.original_context - (rope.factor - 1.0))
    return 1.0


def _yarn(rope: Rope, values: list[float]) -> list[float]:
    def pair_that_turns(times: float) -> float:
        return float(rope.n_rotated * log(rope.original_context / (times * 2 * pi)) / (2 * log(rope.base)))

    first = max(0, floor(pair_that_turns(rope.fast)))
    last = min(rope.n_rotated - 1, ceil(pair_that_turns(rope.slow)))
    blended = []
    for i, value in enumerate(values):
        slowed = min(1.0, max(0.0, (i - first) / max(0.001, last - first)))
        blended.append(value / rope.factor * slowed + value * (1.0 - slowed))
    return blended


def _llama3(rope: Rope, value: float) -> float:
    turns = rope.original_context * value / (2 * pi)
    if turns < rope.low:
        return float(value / rope.factor)
    if turns > rope.high:
        return value
    kept = (turns - rope.low) / (rope.high - rope.low)
    return float((1.0 - kept) * value / rope.factor + kept * value)
