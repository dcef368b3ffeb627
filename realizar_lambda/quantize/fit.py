"""Scale searches over sub-blocks: which scale and offset make the levels explain the elements best.

Every search tries mappings from elements to levels, solves the weighted least-squares problem that those levels
pose in closed form, and keeps the best try; then it maps by the solution itself and solves again, which can only
improve it. It knows no block type: how a found scale is stored is the codecs' and `superblock`'s matter.
"""

from __future__ import annotations

import numpy as np

from realizar_lambda.quantize.levels import LANES, Codebook, Uniform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from realizar_lambda.quantize.bits import Floats
    from realizar_lambda.quantize.levels import Doubles

    Levels = Uniform | Codebook


class SubBlocks:
    """Elements and their weights, laid out in strips of LANES sub-blocks, and the sums that no try changes.

    `x`, `w` (strips, size, LANES) f32; the last strip is filled up with zeros. Per sub-block, in strips too:
    `sum_w`, `sum_x`, `sum_xx` f64 weighted sums, `low` and `high` f32 extremes.
    """

    __slots__ = ("high", "low", "n", "shape", "sum_w", "sum_x", "sum_xx", "w", "x")

    def __init__(self, x: Floats, w: Floats) -> None:
        """x, w (n, size) f32, w >= 0."""
        self.n = len(x)
        self.x = _strips(x)
        self.w = _strips(w)
        weighted = self.w * self.x.astype(np.float64)
        self.sum_w: Doubles = self.w.sum(axis=1, dtype=np.float64)
        self.sum_x: Doubles = weighted.sum(axis=1)
        weighted *= self.x
        self.sum_xx: Doubles = weighted.sum(axis=1)
        self.low = self.x.min(axis=1)
        self.high = self.x.max(axis=1)
        self.shape = self.low.shape

    def column(self, lanes: NDArray[np.floating]) -> Floats:
        """lanes (strips, LANES) -> (n, 1) f32: a value for each sub-block that was given."""
        return lanes.reshape(-1, 1)[: self.n].astype(np.float32)


def fit_affine(
    blocks: SubBlocks, levels: Uniform, reaches: Sequence[float], *, offset_at_most_zero: bool = True
) -> tuple[Floats, Floats]:
    """The (scale, offset), each (strips, LANES) f32, for which scale * l + offset is nearest to the elements.

    `reaches` are the tries: how many levels the span from the lowest element to the highest one is mapped to.
    A constant sub-block gets scale 0.
    """
    low = np.minimum(blocks.low, np.float32(0)) if offset_at_most_zero else blocks.low
    inverse = np.array(reaches, np.float32).reshape(-1, 1, 1) * reciprocal(blocks.high - low)
    limit = 0.0 if offset_at_most_zero else np.inf
    scale, offset, error = _solve_affine(blocks, levels, np.broadcast_to(low, inverse.shape), inverse, limit)
    best = error.argmin(axis=0)[None]
    scale, offset, error = (np.take_along_axis(part, best, 0) for part in (scale, offset, error))
    origin, inverse = offset.astype(np.float32), reciprocal(scale.astype(np.float32))
    polished_scale, polished_offset, polished_error = _solve_affine(blocks, levels, origin, inverse, limit)
    better = polished_error < error
    varies = blocks.high > low
    scale = np.where(varies, np.where(better, polished_scale, scale)[0], 0)
    offset = np.where(varies, np.where(better, polished_offset, offset)[0], low)
    return scale.astype(np.float32), offset.astype(np.float32)


def fit_scale(blocks: SubBlocks, levels: Levels, reaches: Sequence[float]) -> Floats:
    """The scale (strips, LANES) f32, of either sign, for which scale * l is nearest to the elements.

    `reaches` are the tries: the level, of either sign, that the element of largest magnitude is mapped to.
    """
    peak = np.where(blocks.high > -blocks.low, blocks.high, blocks.low)
    inverse = np.array(reaches, np.float32).reshape(-1, 1, 1) * reciprocal(peak)
    scale, gain = _solve_scale(blocks, levels, inverse)
    best = gain.argmax(axis=0)[None]
    scale, gain = (np.take_along_axis(part, best, 0) for part in (scale, gain))
    polished, polished_gain = _solve_scale(blocks, levels, reciprocal(scale.astype(np.float32)))
    best_scale: Floats = np.where(polished_gain > gain, polished, scale)[0].astype(np.float32)
    return best_scale


def weigh(x: Floats, importance: Floats | None, power: int) -> Floats:
    """How much each element's squared error counts, x (n, size) -> (n, size).

    Without importance large elements count more: 3 rms + |x| for `power` 1, rms² + x² for 2, rms over the
    sub-block. With importance it is importance (3 rms + |x|).
    """
    squared = x * x
    mean = squared.mean(axis=1, keepdims=True)
    by_magnitude: Floats = np.float32(3) * np.sqrt(mean) + np.abs(x)
    if importance is not None:
        by_magnitude *= importance
    elif power == 2:
        by_magnitude = mean + squared
    return by_magnitude


def around(low: float, high: float, step: float) -> tuple[float, ...]:
    """Tries for `fit_scale`: the lowest and the highest level, and three steps to either side of each."""
    return tuple(end + step * k for end in (low, high) for k in range(-3, 4))


def reciprocal(values: Floats) -> Floats:
    """1 / values, and 0 where that is no finite number."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / values
    return np.where(np.isfinite(inverse), inverse, np.float32(0)).astype(np.float32)


def _solve_affine(
    blocks: SubBlocks, levels: Uniform, origin: Floats, inverse: Floats, limit: float
) -> tuple[Doubles, Doubles, Doubles]:
    """The best scale and offset for the levels of each try, and the weighted squared error that they leave.

    With b = offset, a = scale the error is  Σ w (a l + b - x)²; its gradient vanishes at
        a = (Σw Σwlx - Σwl Σwx) / (Σw Σwll - (Σwl)²),   b = (Σwx - a Σwl) / Σw;
    where b would exceed `limit` it is held there and  a = (Σwlx - b Σwl) / Σwll.
    """
    sums = levels.sums(blocks.x, blocks.w, np.ascontiguousarray(origin), inverse)
    sum_l, sum_ll, sum_lx = sums
    sum_w, sum_x = np.broadcast_arrays(blocks.sum_w, blocks.sum_x, sum_l)[:2]
    scale = ratio(sum_w * sum_lx - sum_l * sum_x, sum_w * sum_ll - sum_l * sum_l)
    offset = ratio(sum_x - scale * sum_l, sum_w)
    held = offset > limit
    if held.any():
        offset = np.where(held, limit, offset)
        scale = np.where(held, ratio(sum_lx - offset * sum_l, sum_ll), scale)
    return scale, offset, affine_error(blocks, scale, offset, sums)


def affine_error(blocks: SubBlocks, scale: Doubles, offset: Doubles, sums: Doubles) -> Doubles:
    """Σ w (scale l + offset - x)², from the sums `sum_l, sum_ll, sum_lx` alone."""
    sum_l, sum_ll, sum_lx = sums
    by_scale = scale * (scale * sum_ll + 2 * offset * sum_l - 2 * sum_lx)
    by_offset = offset * (offset * blocks.sum_w - 2 * blocks.sum_x)
    error: Doubles = by_scale + by_offset + blocks.sum_xx
    return error


def _solve_scale(blocks: SubBlocks, levels: Levels, inverse: Floats) -> tuple[Doubles, Doubles]:
    """The best scale for the levels of each try, Σwlx / Σwll, and by how much it lowers the squared error."""
    _, sum_ll, sum_lx = levels.sums(blocks.x, blocks.w, np.zeros_like(inverse), inverse)
    scale = ratio(sum_lx, sum_ll)
    return scale, scale * sum_lx


def ratio(numerator: Doubles, denominator: Doubles) -> Doubles:
    """numerator / denominator, and 0 where the denominator is not positive."""
    positive = denominator > 0
    return np.where(positive, numerator, 0) / np.where(positive, denominator, 1)


def _strips(values: Floats) -> Floats:
    """values (n, size) -> (strips, size, LANES), filled up with zeros."""
    n, size = values.shape
    n_strips = -(-n // LANES)
    filled = np.zeros((n_strips * LANES, size), np.float32)
    filled[:n] = values
    return np.ascontiguousarray(filled.reshape(n_strips, LANES, size).transpose(0, 2, 1))
