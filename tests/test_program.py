from __future__ import annotations

from collections.abc import Callable

import pytest
from program_parts import Parts, tensor

from realizar_lambda import native, ops
from realizar_lambda.builder import Builder
from realizar_lambda.errors import CapacityError, RealizarError, UnsupportedError
from realizar_lambda.program import MAX_WIDTH
from realizar_lambda.session import Session

WEIGHT = tensor((3, 8))
REJECTED: dict[str, tuple[Callable[[Parts], object], type[RealizarError], str]] = {
    # what is wrong: how, error, words
    "a buffer of no width": (lambda p: p.b.buffer("h", 0), UnsupportedError, "'h' of width 0"),
    "a buffer of negative width": (lambda p: p.b.input("h", -1), UnsupportedError, "'h' of width -1"),
    "a buffer too wide": (lambda p: p.b.buffer("h", MAX_WIDTH + 1), UnsupportedError, "supported: 1 to 16777216"),
    "a buffer of unknown elements": (lambda p: p.b.input("h", 4, "f64"), UnsupportedError, "of f64"),
    "a cache of unknown elements": (
        lambda p: p.b.cache("c", n_heads=1, head_width=4, capacity=4, element="u8"), UnsupportedError, "of u8"),
    "a cache of no capacity": (
        lambda p: p.b.cache("c", n_heads=1, head_width=4, capacity=0, element="f16"), UnsupportedError, r"\(1, 0, 4\)"),
    "an unknown activation": (lambda p: p.b.activation("swish", p.x), UnsupportedError, "activation 'swish'"),
    "an activation of bytes": (lambda p: p.b.activation("relu", p.bytes), CapacityError, "buffer 'bytes'"),
    "an activation of too few rows": (lambda p: p.b.activation("relu", p.short), CapacityError, "'short' of 3 rows"),
    "an activation of a cache": (lambda p: p.b.activation("relu", p.keys), CapacityError, "buffer 'keys'"),
    "another program's buffer": (lambda p: p.b.activation("relu", p.stranger), UnsupportedError, "another program"),
    "another program's weight input": (lambda p: p.b.matmul(p.stranger, WEIGHT), UnsupportedError, "another program"),
    "a weight of another width": (
        lambda p: p.b.matmul(p.x, tensor((3, 7))), UnsupportedError, "'w' with 7 columns is .*; supported: 8, the"),
    "a weight of integers": (lambda p: p.b.matmul(p.x, tensor((3, 8), "I8")), UnsupportedError, "of type I8"),
    "a weight of one dimension": (lambda p: p.b.matmul(p.x, tensor((8,))), UnsupportedError, r"of shape \(8,\)"),
    "a weight of three dimensions": (
        lambda p: p.b.matmul(p.x, tensor((3, 8, 1))), UnsupportedError, r"of shape \(3, 8, 1\)"),
    "a weight of no rows": (lambda p: p.b.matmul(p.x, tensor((0, 8))), UnsupportedError, r"of shape \(0, 8\)"),
    "a weight of too many rows": (
        lambda p: p.b.matmul(p.x, tensor((MAX_WIDTH + 1, 8), n_bytes=0)), UnsupportedError, "of shape"),
    "a truncated weight": (
        lambda p: p.b.matmul(p.x, tensor((3, 8), n_bytes=95)), UnsupportedError, "'w' of 95 bytes .*whole blocks"),
    "a weight with bytes left over": (
        lambda p: p.b.matmul(p.x, tensor((3, 8), n_bytes=97)), UnsupportedError, "'w' of 97 bytes"),
    "a truncated quantised weight": (
        lambda p: p.b.matmul(p.wide, tensor((2, 64), "Q4_0", n_bytes=71)), UnsupportedError, "'w' of 71 bytes"),
    "rows of broken blocks": (
        lambda p: p.b.matmul(p.x, tensor((4, 8), "Q8_0")), UnsupportedError, "whole blocks in each row"),
    "rows of half a K-type's block": (
        lambda p: p.b.matmul(p.wide, tensor((4, 64), "Q4_K")), UnsupportedError, "whole blocks in each row"),
    "a matmul of bytes": (lambda p: p.b.matmul(p.bytes, WEIGHT), CapacityError, "buffer 'bytes'"),
    "a matmul of too few rows": (lambda p: p.b.matmul(p.short, WEIGHT), CapacityError, "'short' of 3 rows"),
    "a matmul into its input": (lambda p: p.b.matmul(p.x, tensor((8, 8)), out=p.x), UnsupportedError, "its own input"),
    "a matmul into another width": (lambda p: p.b.matmul(p.x, WEIGHT, out=p.y), CapacityError, "needs 3 columns"),
    "a matmul into bytes": (lambda p: p.b.matmul(p.x, tensor((8, 8)), out=p.bytes), CapacityError, "'bytes'"),
    "a residual of another width": (lambda p: p.b.matmul(p.x, WEIGHT, residual=p.y), CapacityError, "needs 3 columns"),
    "a bias of another width": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=tensor((4,))), UnsupportedError, r"F32 of shape \(3,\)"),
    "a bias of another type": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=tensor((3,), "F16")), UnsupportedError, "type F16"),
    "a truncated bias": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=tensor((3,), n_bytes=8)), UnsupportedError, r"F32 of shape \(3,\)"),
    "a constant bias of another width": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=p.v8), CapacityError, "a constant vector needs 3 values"),
    "a constant bias in f64": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=p.b.constant([1.0] * 3, "f64")), CapacityError, "a constant vector"),
    "a constant of another program": (
        lambda p: p.b.matmul(p.x, WEIGHT, bias=Builder(max_tokens=1).constant([0.0] * 3)),
        UnsupportedError, "another program"),
    "unlike numbers of means and stds": (
        lambda p: p.b.normalise_input(p.x, p.b.constant([1.0]), p.b.constant([1.0, 2.0])),
        UnsupportedError, "1 multipliers and 2 shifts"),
    "no means": (
        lambda p: p.b.normalise_input(p.x, *[p.b.constant([])] * 2), UnsupportedError, "0 multipliers"),
    "channels that do not divide the inputs": (
        lambda p: p.b.normalise_input(p.x, *[p.b.constant([1.0] * 3)] * 2), UnsupportedError, "3 multipliers"),
    "a normalised input cut short": (
        lambda p: p.b.normalise_input(p.x, p.v8, p.v8, out_width=7), CapacityError, "needs 8 columns"),
    "token ids as features": (
        lambda p: p.b.normalise_input(p.ids, *[p.b.constant([1.0])] * 2), UnsupportedError, "'ids' of i32"),
    "features of too few rows": (
        lambda p: p.b.normalise_input(p.short, p.v8, p.v8), CapacityError, "'short' of 3 rows"),
    "a norm of bytes": (lambda p: p.b.rms_norm(p.bytes, tensor((8,)), 1e-5), CapacityError, "'bytes'"),
    "a norm into another width": (lambda p: p.b.rms_norm(p.x, tensor((8,)), 1e-5, out=p.wide), CapacityError, "'wide'"),
    "a norm of another width": (lambda p: p.b.rms_norm(p.x, tensor((7,)), 1e-5), UnsupportedError, r"\(7,\)"),
    "groups that do not divide the row": (
        lambda p: p.b.rms_norm(p.x, tensor((3,)), 1e-5, n_groups=3), UnsupportedError, "3 groups in a row of 8"),
    "no groups": (lambda p: p.b.rms_norm(p.x, tensor((8,)), 1e-5, n_groups=0), UnsupportedError, "0 groups"),
    "a layer norm of bytes": (
        lambda p: p.b.layer_norm(p.bytes, tensor((8,)), tensor((8,)), 1e-5), CapacityError, "'bytes'"),
    "a layer norm with another bias": (
        lambda p: p.b.layer_norm(p.x, tensor((8,)), tensor((9,)), 1e-5), UnsupportedError, r"\(9,\)"),
    "a sum of bytes": (lambda p: p.b.add(p.bytes, p.x), CapacityError, "'bytes'"),
    "a sum with bytes": (lambda p: p.b.add(p.x, p.bytes), CapacityError, "'bytes'"),
    "a sum of unlike widths": (lambda p: p.b.add(p.x, p.wide), CapacityError, "'wide'"),
    "an unknown gate": (lambda p: p.b.gated("relu", p.x, p.y), UnsupportedError, "gate 'relu'"),
    "a gate of bytes": (lambda p: p.b.gated("silu", p.bytes, p.x), CapacityError, "'bytes'"),
    "a gate of unlike widths": (lambda p: p.b.gated("silu", p.x, p.wide), CapacityError, "'wide'"),
    "a cap of bytes": (lambda p: p.b.soft_cap(p.bytes, 30.0), CapacityError, "'bytes'"),
    "a product of bytes": (lambda p: p.b.multiply(p.bytes, 2.0), CapacityError, "'bytes'"),
    "a bias in a buffer of another width": (
        lambda p: p.b.matmul(p.x, tensor((5, 8)), bias=p.y), CapacityError, "the bias in buffer 'y'"),
    "a bias of ids": (lambda p: p.b.matmul(p.x, tensor((1, 8)), bias=p.ids), CapacityError, "the bias in buffer 'ids'"),
    "columns in f16": (lambda p: p.b.columns(tensor((3, 8), "F16")), UnsupportedError, "type F16"),
    "columns in another buffer": (
        lambda p: p.b.fill_columns(p.x, tensor((3, 8)), p.b.constant([1.0])), UnsupportedError, "'w' in 'x'"),
    "columns in bytes": (
        lambda p: p.b.fill_columns(p.b.input("c", 8, "u8", rows=16), tensor((3, 8)), p.b.constant([1.0])),
        UnsupportedError, "'w' in 'c'"),
    "columns of another weight": (
        lambda p: p.b.fill_columns(p.b.columns(tensor((17, 8))), tensor((3, 8)), p.b.constant([1.0])),
        UnsupportedError, "'w' in 'w.columns'"),
    "multipliers that do not divide the columns": (
        lambda p: p.b.fill_columns(p.b.columns(tensor((3, 8))), tensor((3, 8)), p.b.constant([1.0] * 3)),
        UnsupportedError, "3 multipliers for 8 columns"),
    "a matmul by another weight's columns": (
        lambda p: p.b.add_columns(p.x, p.b.columns(tensor((17, 8))), p.one, n_rows=1, relu=True),
        UnsupportedError, r"as columns of \(1, 8\)"),
    "a matmul by columns of bytes": (
        lambda p: p.b.add_columns(p.bytes, p.b.columns(tensor((3, 8))), p.one, n_rows=3, relu=True),
        CapacityError, "'bytes'"),
    "a matmul by columns with another bias": (
        lambda p: p.b.add_columns(p.x, p.b.columns(tensor((3, 8))), p.one, n_rows=3, relu=True),
        CapacityError, "the bias in buffer 'one'"),
    "ids that are floats": (lambda p: p.b.embed(p.one, tensor((5, 8))), UnsupportedError, "'one' of f32"),
    "ids side by side": (
        lambda p: p.b.embed(p.b.input("i", 2, "i32"), tensor((5, 8))), UnsupportedError, "i32 of width 1"),
    "ids of too few rows": (
        lambda p: p.b.embed(p.b.input("i", 1, "i32", rows=3), tensor((5, 8))), CapacityError, "'i' of 3 rows"),
    "a truncated table": (lambda p: p.b.embed(p.ids, tensor((5, 8), n_bytes=159)), UnsupportedError, "159 bytes"),
    "positions of another width": (lambda p: p.b.add_positions(p.x, tensor((9, 7)), 4), UnsupportedError, r"\(9, 7\)"),
    "too few positions": (lambda p: p.b.add_positions(p.x, tensor((3, 8)), 4), UnsupportedError, "at least 4 rows"),
    "positions in f16": (lambda p: p.b.add_positions(p.x, tensor((9, 8), "F16"), 4), UnsupportedError, "type F16"),
    "positions of bytes": (lambda p: p.b.add_positions(p.bytes, tensor((9, 8)), 4), CapacityError, "'bytes'"),
    "an unknown rope": (
        lambda p: p.b.rope(p.x, p.angles, n_heads=2, layout="spiral"), UnsupportedError, "rope 'spiral'"),
    "a rope wider than its head": (
        lambda p: p.b.rope(p.x, p.angles, n_heads=4, layout="pairs"), UnsupportedError, "4 values in 4 heads"),
    "heads that do not divide the row": (
        lambda p: p.b.rope(p.x, p.angles, n_heads=3, layout="pairs"), UnsupportedError, "in 3 heads"),
    "no heads": (lambda p: p.b.rope(p.x, p.angles, n_heads=0, layout="pairs"), UnsupportedError, "in 0 heads"),
    "a rope of bytes": (lambda p: p.b.rope(p.bytes, p.angles, n_heads=2, layout="pairs"), CapacityError, "'bytes'"),
    "angles that are bytes": (
        lambda p: p.b.rope(p.wide, p.bytes, n_heads=2, layout="pairs"), CapacityError, "'bytes'"),
    "a store into a buffer": (lambda p: p.b.store(p.y, p.x), CapacityError, "cache 'y'"),
    "a store of half a head": (lambda p: p.b.store(p.keys, p.one), CapacityError, "cache 'keys'"),
    "a store of other heads": (
        lambda p: p.b.store(p.keys, p.b.input("h", 12)), CapacityError, "cache 'keys'"),
    "a store of bytes": (lambda p: p.b.store(p.keys, p.bytes), CapacityError, "'bytes'"),
    "attention over a buffer": (lambda p: p.attend(keys=p.y, values=p.y), UnsupportedError, "attention of 2 heads"),
    "keys and values of unlike elements": (lambda p: p.attend(values=p.other), UnsupportedError, "attention of 2"),
    "query heads that are no multiple": (lambda p: p.attend(n_heads=3), UnsupportedError, "attention of 3 heads"),
    "no query heads": (lambda p: p.attend(n_heads=0), UnsupportedError, "attention of 0 heads"),
    "no key heads": (lambda p: p.attend(n_kv_heads=0), UnsupportedError, "over 0 of width 4"),
    "key heads that do not divide the cache": (
        lambda p: p.attend(p.b.input("q", 12), n_heads=3, n_kv_heads=3), UnsupportedError, "over 3 of width 4"),
    "queries of another width": (lambda p: p.attend(p.wide), UnsupportedError, r"in 'wide' \(64\)"),
    "queries of bytes": (lambda p: p.attend(p.bytes), CapacityError, "'bytes'"),
    "a negative window": (lambda p: p.attend(window=-1), UnsupportedError, "attention of 2 heads"),
    "a slope for another number of heads": (
        lambda p: p.attend(slopes=p.v8), UnsupportedError, "attention of 2 heads"),
    "slopes in f64": (lambda p: p.attend(slopes=p.b.constant([1.0, 1.0], "f64")), UnsupportedError, "attention of 2"),
    "a last row of another width": (lambda p: p.b.last_row(p.x, p.wide), CapacityError, "'wide'"),
    "a last row of bytes": (lambda p: p.b.last_row(p.bytes, p.x), CapacityError, "'bytes'"),
    "a constant that no f32 holds": (lambda p: p.b.constant([1.0, 1e39]), UnsupportedError, "1e[+]39"),
    "a constant that no float holds": (lambda p: p.b.constant([10**400], "f64"), UnsupportedError, "constant"),
}  # fmt: skip


@pytest.mark.parametrize("what", REJECTED)
def test_an_operation_that_does_not_fit_is_refused_when_it_is_added(what: str) -> None:
    attempt, error, words = REJECTED[what]
    parts = Parts()
    with pytest.raises(error, match=words):
        attempt(parts)
    assert {step.op for step in parts.b.finish(parts.x).steps} <= {"rope_angles", "interleave"}


def test_what_fits_is_accepted() -> None:
    """The parts of the rejections are sound: each of these differs from one of them in one thing."""
    p = Parts()
    p.b.matmul(p.x, WEIGHT, bias=tensor((3,)))
    p.b.matmul(p.x, tensor((8, 8)), residual=p.y, out=p.y, bias=p.v8)
    p.b.normalise_input(p.bytes, p.v8, p.v8, out_width=9)
    p.b.add(p.x, p.b.rms_norm(p.y, tensor((4,)), 1e-5, n_groups=2))
    p.b.add_positions(p.x, tensor((10, 8)), 10)
    p.b.rope(p.x, p.angles, n_heads=2, layout="halves")
    p.b.store(p.keys, p.x)
    p.b.store(p.values, p.y)
    program = p.b.finish(p.attend(slopes=p.b.constant([1.0, 1.0])))
    caches = {name: bytearray(160) for name in ("keys", "values")} | {"other": bytearray(320)}
    Session(program, native.Team(1, native.library()), caches=caches).run(4, 6)


def test_features_that_lie_interleaved_alone_are_read_by_matmuls_of_plain_numbers_alone() -> None:
    p = Parts()
    one, zero = p.b.constant([1.0]), p.b.constant([0.0])
    h = p.b.normalise_input(p.wide, one, zero, for_dense=True)
    with pytest.raises(UnsupportedError, match=r"'wide\.normalised', which was made interleaved, in relu"):
        p.b.activation("relu", h)
    with pytest.raises(UnsupportedError, match="in quantize"):
        p.b.matmul(h, tensor((3, 64), "Q8_0"))
    p.b.matmul(h, tensor((3, 64)))
    p.b.matmul(h, tensor((4, 64)))
    p.b.matmul(p.x, tensor((3, 8)))
    with pytest.raises(UnsupportedError, match="in interleave"):
        p.b.matmul(h, tensor((3, 64)))
    assert p.b.activation("relu", p.b.normalise_input(p.wide, one, zero)) is h


def test_a_buffer_asked_for_again_by_name_and_width_is_the_same_memory() -> None:
    builder = Builder(max_tokens=4)
    assert builder.buffer("h", 3) is builder.buffer("h", 3)
    assert builder.buffer("h", 3).index != builder.buffer("h", 4).index


def test_a_buffer_asked_for_again_with_other_elements_is_other_memory() -> None:
    builder = Builder(max_tokens=4)
    assert builder.buffer("h", 3, "u8").element == "u8"
    assert builder.buffer("h", 3).element == "f32"


def test_the_team_meets_before_activations_are_made_ready_anew() -> None:
    """A matmul that waits for nobody may still read what the next one's quantising overwrites."""
    builder = Builder(max_tokens=4, n_threads=3)
    x = builder.input("x", 64)
    builder.matmul(x, tensor((3, 64), "Q8_0", name="a"), meets=False)
    builder.matmul(x, tensor((3, 64), "Q4_0", name="b"), meets=False)
    program = builder.finish(builder.matmul(x, tensor((3, 64), name="c")))
    assert [(step.op, step.meets) for step in program.steps] == [
        ("quantize", True), ("matmul_Q8_0", False), ("matmul_Q4_0", True), ("interleave", True), ("matmul_F32", True),
    ]  # fmt: skip


@pytest.mark.parametrize("max_tokens", [1, ops.MIN_TILE_TOKENS - 1, ops.MIN_TILE_TOKENS, 64])
@pytest.mark.parametrize("width", [32, 256, 288, 512])
def test_quantised_activations_have_room_in_slices_and_interleaved(width: int, max_tokens: int) -> None:
    """A row too narrow for its slice, or a block begun, takes a whole slice of each of a few tokens."""
    builder = Builder(max_tokens=max_tokens)
    program = builder.finish(builder.matmul(builder.input("x", width), tensor((3, width), "Q8_0")))
    (room,) = (buffer.width for buffer in program.buffers if buffer.name == "activations")
    few = min(max_tokens, ops.MIN_TILE_TOKENS - 1)
    assert room >= few * -(-width // ops.SLICE_COLUMNS) * ops.SLICE_BYTES
    if max_tokens >= ops.MIN_TILE_TOKENS:
        padded = -(-max_tokens // ops.MAX_LANES) * ops.MAX_LANES
        assert room >= padded * (width + 4 * (width // 32 + width // 16 + width // 32))
