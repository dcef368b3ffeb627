"""Sampling in float64 NumPy, slow and obvious; never imports the package.

`probabilities` gives what a token is drawn from, `draw` the token for a random fraction, `fraction` the random
numbers of a seed. The order of equal tokens is that of their ids throughout.
"""

from __future__ import annotations

import numpy as np

MASK = (1 << 64) - 1


def splitmix64(seed, number):
    """The output `number` (from 0) of SplitMix64 from the state `seed`, 64 bits."""
    x = (seed + (number + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def fraction(seed, number):
    """Random number `number` of a seed, in [0, 1)."""
    return (splitmix64(seed, number) >> 11) / (1 << 53)


def adjusted(
    logits,
    *,
    prompt_ids=(),
    drawn_ids=(),
    logit_bias=None,
    repetition_penalty=1.0,
    presence_penalty=0.0,
    frequency_penalty=0.0,
    penalty_window=None,
    banned_ids=(),
    stop_ids=(),
    min_tokens=0,
):
    """The logits (n_vocab,) f32 after biases, penalties and bans; each step rounds to f32."""
    z = np.array(logits, np.float32)
    for token, bias in (logit_bias or {}).items():
        z[token] += np.float32(bias)
    history = [(token, False) for token in prompt_ids] + [(token, True) for token in drawn_ids]
    if penalty_window is not None:
        history = history[-penalty_window:]
    if (repetition_penalty, presence_penalty, frequency_penalty) != (1.0, 0.0, 0.0):
        for token in {token for token, _ in history}:
            value = np.float64(z[token])
            value = value / repetition_penalty if value > 0 else value * repetition_penalty
            n_drawn = sum(was_drawn for other, was_drawn in history if other == token)
            if n_drawn:
                value -= presence_penalty + frequency_penalty * n_drawn
            z[token] = np.float32(value)
    z[list(banned_ids)] = -np.inf
    if len(drawn_ids) < min_tokens:
        z[list(stop_ids)] = -np.inf
    return z


def truncated(z, *, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0):
    """(weights (n_vocab,), doubt): relative probabilities, 0 for what is cut; and how near a cut came to going
    otherwise, relative to what was compared: below 1e-9 rounding decides."""
    z = np.asarray(z, np.float64)
    weights = np.zeros(len(z))
    if temperature == 0 or top_k == 1:
        weights[z.argmax()] = 1.0
        return weights, np.inf
    allowed = z > -np.inf
    levels = (z[allowed] - z.max()) * (1.0 / temperature)
    weights[allowed] = np.where(levels < -708, 0.0, np.exp(levels))
    doubt = np.inf
    if 0 < top_k < len(z):
        allowed = np.isin(np.arange(len(z)), _best_first(z, allowed)[:top_k])
        weights[~allowed] = 0.0
    if top_p < 1.0:
        allowed, doubt = _nucleus(weights, _best_first(z, allowed), top_p, doubt)
    if min_p > 0.0:
        allowed &= weights >= min_p
        doubt = min(doubt, (np.abs(weights - min_p) / min_p).min())
    if typical_p < 1.0:
        weights[~allowed] = 0.0
        kept = np.flatnonzero(allowed)
        p = weights / weights.sum()
        surprise = np.log(weights.sum()) - (z[kept] - z.max()) * (1.0 / temperature)
        entropy = float((p[kept] * surprise).sum())
        with np.errstate(over="ignore"):
            distance = np.abs(surprise - entropy).astype(np.float32)
        order = kept[np.lexsort((kept, distance))]
        allowed, doubt = _nucleus(weights, order, typical_p, doubt)
        last = z[order[allowed[order].sum() - 1]]
        border = distance[z[kept] == last][0]
        others = np.abs(distance[z[kept] != last].astype(np.float64) - border)
        doubt = min(doubt, others.min(initial=np.inf) * 1e-2 / (1.0 + abs(entropy)))  # f32 tells them apart
    weights[~allowed] = 0.0
    return weights, doubt


def _best_first(z, allowed):
    ids = np.flatnonzero(allowed)
    return ids[np.lexsort((ids, -z[ids]))]


def _nucleus(weights, order, target, doubt):
    """The first of `order` whose weights reach `target` times all of theirs, as flags."""
    reached = np.cumsum(weights[order])
    goal = target * reached[-1]
    n = int((reached < goal).sum()) + 1
    allowed = np.zeros(len(weights), bool)
    allowed[order[:n]] = True
    return allowed, min(doubt, (np.abs(reached - goal) / goal).min())


def draw(weights, random):
    """(token, doubt): the token whose stretch of the line the random number falls on, in the order of ids."""
    kept = np.flatnonzero(weights > 0)
    reached = np.cumsum(weights[kept])
    goal = random * reached[-1]
    place = min(int((reached <= goal).sum()), len(kept) - 1)
    return int(kept[place]), np.abs(reached - goal).min() / reached[-1]


def logprobs(logits):
    """The log-probabilities (n_vocab,) of raw logits."""
    z = np.asarray(logits, np.float64)
    return z - z.max() - np.log(np.exp(z - z.max()).sum())
