"""Super-blocks: sub-blocks whose scales are themselves small integers times one half-precision number.

    affine    x = (d scale) l - (dmin offset)     Q2_K, Q4_K, Q5_K
    scaled    x = (d scale) l                     Q3_K, Q6_K, IQ4_XS

First each sub-block's own best scale is searched (`fit`); d is set so that the largest of them fits; then, with d
known as the half it will be stored as, each sub-block takes the best of the integer scales near its own, and d is
solved again for the levels found. Layouts are the codecs' matter.

What is made small is Σ w (x' - x)² with the weights of `fit.weigh`. Plain squared error as the goal gains about
1 % more of itself and loses up to 12 % of the magnitude-weighted one, which GGML's reference quantiser minimises;
with these weights both are smaller than its, on every distribution that was tried (docs/quantization.md).
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from realizar_lambda.quantize.bits import to_f16
from realizar_lambda.quantize.fit import SubBlocks, affine_error, fit_affine, fit_scale, ratio, reciprocal, weigh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from realizar_lambda.quantize.bits import Bytes, Floats
    from realizar_lambda.quantize.levels import Doubles

_NEIGHBOURS = np.arange(-2, 3, dtype=np.float32).reshape(-1, 1, 1)


class Affine(namedtuple("Affine", "n_sub_blocks levels top_scale reaches")):
    """An affine type: its levels 0..top, stored scales and offsets 0..top_scale, the tries of `fit_affine`."""

    __slots__ = ()


class Scaled(namedtuple("Scaled", "n_sub_blocks levels low_scale high_scale reaches")):
    """A scaled type: its levels, stored scales low_scale..high_scale, the tries of `fit_scale`."""

    __slots__ = ()


def encode_affine(
    values: Floats, importance: Floats | None, layout: Affine
) -> tuple[Floats, Floats, Bytes, Bytes, Bytes]:
    """`d, dmin` (n, 1) f32 that are exact halves, `scales, offsets` (n, n_sub_blocks) u8, `levels` (n, 256) u8.

    values (n, 256) f32 finite; importance (n, 256) f32 or None.
    """
    x = values.reshape(len(values) * layout.n_sub_blocks, -1)
    blocks = SubBlocks(x, weigh(x, None if importance is None else importance.reshape(x.shape), 1))
    scale, offset = fit_affine(blocks, layout.levels, layout.reaches)
    wanted = np.stack((scale, -offset))
    # d and dmin as one array (2, super-blocks), scales and offsets as one (2, strips, LANES).
    unit = _unit(_by_super_block(wanted, layout).max(axis=-1) / np.float32(layout.top_scale))
    whole = _to_whole(wanted, _spread(unit, layout, blocks), layout.top_scale)
    whole, sums, error = _choose_affine(blocks, layout, unit, whole)
    refitted = _refit_affine(blocks, layout, unit, whole, sums)
    refitted_error = _affine_error_of(blocks, layout, refitted, whole)
    unit = np.where(_sum_up(refitted_error, layout) < _sum_up(error, layout), refitted, unit)
    final = _spread(unit, layout, blocks) * whole
    origin, inverse = -blocks.column(final[1]), reciprocal(blocks.column(final[0]))
    levels = layout.levels.nearest((x - origin) * inverse)
    d, dmin = unit[:, : len(values)].reshape(2, -1, 1)
    scales, offsets = (blocks.column(part).reshape(len(values), -1).astype(np.uint8) for part in whole)
    return d, dmin, scales, offsets, levels.reshape(values.shape).astype(np.uint8)


def encode_scaled(
    values: Floats, importance: Floats | None, layout: Scaled
) -> tuple[Floats, NDArray[np.int8], NDArray[np.int8]]:
    """`d` (n, 1) f32 that is an exact half, `scales` (n, n_sub_blocks) i8, `levels` (n, 256) i8.

    values (n, 256) f32 finite; importance (n, 256) f32 or None.
    """
    x = values.reshape(len(values) * layout.n_sub_blocks, -1)
    blocks = SubBlocks(x, weigh(x, None if importance is None else importance.reshape(x.shape), 2))
    wanted = fit_scale(blocks, layout.levels, layout.reaches)
    grouped = _by_super_block(wanted, layout)
    peak = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=-1, keepdims=True), -1)[..., 0]
    unit = _unit(peak / np.float32(layout.low_scale))
    whole = np.rint(wanted * reciprocal(_spread(unit, layout, blocks)))
    tries = np.clip(whole + _NEIGHBOURS, layout.low_scale, layout.high_scale)
    sums, errors = _scaled_errors(blocks, layout, unit, tries)
    best = errors.argmin(axis=0)[None]
    whole, error, sum_ll, sum_lx = (np.take_along_axis(part, best, 0)[0] for part in (tries, errors, *sums[1:]))
    solved = ratio(_sum_up(whole * sum_lx, layout), _sum_up(whole * whole * sum_ll, layout))
    refitted = to_f16(solved.astype(np.float32))
    _, refitted_error = _scaled_errors(blocks, layout, refitted, whole[None])
    unit = np.where(_sum_up(refitted_error[0], layout) < _sum_up(error, layout), refitted, unit)
    inverse = reciprocal(blocks.column(_spread(unit, layout, blocks) * whole))
    levels = layout.levels.nearest(x * inverse)
    scales = blocks.column(whole).reshape(len(values), -1)
    return unit[: len(values)].reshape(-1, 1), scales.astype(np.int8), levels.reshape(values.shape).astype(np.int8)


def _choose_affine(blocks: SubBlocks, layout: Affine, unit: Floats, whole: Floats) -> tuple[Floats, Doubles, Doubles]:
    """For each sub-block the best of the scales near its own, each with the offsets that follow from it.

    Given a scale, the best offset for its levels is Σ w (scale l - x) / Σ w; it is rounded, gives other levels,
    and is solved once more. Returns whole (2, strips, LANES), sums (3, strips, LANES) and errors (strips, LANES).
    """
    step, offset_step = _spread(unit, layout, blocks)
    scales = np.clip(whole[0] + _NEIGHBOURS, 0, layout.top_scale)
    scale = scales * step
    offsets = np.broadcast_to(whole[1], scales.shape)
    best_whole, best_sums = whole, np.zeros((3, *blocks.shape))
    best_error = np.full(blocks.shape, np.inf)
    for _ in range(3):
        sums = layout.levels.sums(blocks.x, blocks.w, -(offsets * offset_step), reciprocal(scale))
        errors = affine_error(blocks, scale.astype(np.float64), -(offsets * offset_step).astype(np.float64), sums)
        best = errors.argmin(axis=0)[None]
        error = np.take_along_axis(errors, best, 0)[0]
        better = error < best_error
        found = np.stack([np.take_along_axis(part, best, 0)[0] for part in (scales, offsets)])
        best_whole = np.where(better, found, best_whole)
        best_sums = np.where(better, np.take_along_axis(sums, best[None], 1)[:, 0], best_sums)
        best_error = np.where(better, error, best_error)
        solved = ratio(scale * sums[0] - blocks.sum_x, np.broadcast_to(blocks.sum_w, scale.shape))
        offsets = _to_whole(solved.astype(np.float32), offset_step, layout.top_scale)
    return best_whole, best_sums, best_error


def _refit_affine(blocks: SubBlocks, layout: Affine, unit: Floats, whole: Floats, sums: Doubles) -> Floats:
    """d and dmin (2, super-blocks) that are best for the levels behind `sums`, as halves; dmin not negative.

    The error Σ w (d p - dmin q - x)², p = scale l and q = offset, has its minimum where
        d Σwpp - dmin Σwpq = Σwpx,    d Σwpq - dmin Σwqq = Σwqx.
    """
    scale, offset = whole.astype(np.float64)
    sum_l, sum_ll, sum_lx = sums
    terms = (
        scale * scale * sum_ll,
        scale * offset * sum_l,
        offset * offset * blocks.sum_w,
        scale * sum_lx,
        offset * blocks.sum_x,
    )
    pp, pq, qq, px, qx = (_sum_up(term, layout) for term in terms)
    determinant = pp * qq - pq * pq
    solvable = determinant > 1e-9 * pp * qq
    d = np.where(solvable, ratio(qq * px - pq * qx, determinant), unit[0])
    dmin = np.where(solvable, ratio(pq * px - pp * qx, determinant), unit[1])
    return to_f16(np.stack((d, np.maximum(dmin, 0))).astype(np.float32))


def _affine_error_of(blocks: SubBlocks, layout: Affine, unit: Floats, whole: Floats) -> Doubles:
    scale, offset = _spread(unit, layout, blocks) * whole
    sums = layout.levels.sums(blocks.x, blocks.w, -offset[None], reciprocal(scale[None]))
    error: Doubles = affine_error(blocks, scale.astype(np.float64), -offset.astype(np.float64), sums)[0]
    return error


def _scaled_errors(blocks: SubBlocks, layout: Scaled, unit: Floats, tries: Floats) -> tuple[Doubles, Doubles]:
    """The sums and the squared errors (tries, strips, LANES) of the stored scales `tries`."""
    scale = tries * _spread(unit, layout, blocks)
    sums = layout.levels.sums(blocks.x, blocks.w, np.zeros_like(scale), reciprocal(scale))
    return sums, affine_error(blocks, scale.astype(np.float64), np.zeros(1), sums)


def _unit(wanted: Floats) -> Floats:
    """wanted as a half that reaches it: among subnormal halves the nearest may be far too small, or zero."""
    nearest = wanted.astype(np.float16)
    short = np.abs(nearest) < np.abs(wanted) * np.float32(0.999)
    reaching = np.nextafter(nearest, np.copysign(np.float16(np.inf), wanted.astype(np.float16)))
    return np.where(short, reaching, nearest).astype(np.float32)


def _by_super_block(lanes: NDArray[np.floating], layout: Affine | Scaled) -> NDArray[np.floating]:
    """lanes (..., strips, LANES) -> (..., super-blocks, n_sub_blocks); n_sub_blocks divides LANES."""
    return lanes.reshape(*lanes.shape[:-2], -1, layout.n_sub_blocks)


def _sum_up(lanes: Doubles, layout: Affine | Scaled) -> Doubles:
    """lanes (strips, LANES) -> (super-blocks,), the sum over each one's sub-blocks."""
    total: Doubles = _by_super_block(lanes, layout).sum(axis=-1)
    return total


def _spread(unit: Floats, layout: Affine | Scaled, blocks: SubBlocks) -> Floats:
    """unit (..., super-blocks) -> (..., strips, LANES): each super-block's value for all its sub-blocks."""
    return np.repeat(unit, layout.n_sub_blocks, axis=-1).reshape(*unit.shape[:-1], *blocks.shape)


def _to_whole(wanted: Floats, step: Floats, top: int) -> Floats:
    """wanted as whole multiples of step, in 0..top."""
    whole: Floats = np.clip(np.rint(wanted * reciprocal(step)), 0, top)
    return whole
