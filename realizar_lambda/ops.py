"""The table of operations a program is made of: number, name and record fields. Neither kernels nor checks here.

A program is a contiguous table of records of `RECORD_WORDS` 8-byte words: word 0 is the operation's number, the
next words its fields in the order below, the last word is 1 where the team of threads must meet after the
operation. The same table serves the builder, which writes records, and the kernels, whose parameters are named
like the fields.

Field kinds: "p" an address, "i" an int64, "f" a float64.
Shapes in the comments are row-major; every buffer of activations is (n_tokens, width) f32.
"""

from __future__ import annotations

from collections import namedtuple

RECORD_WORDS = 16
RECORD_BYTES = RECORD_WORDS * 8


class Op(namedtuple("Op", "name number fields")):
    """An operation. `fields` is a tuple of (name, kind)."""

    __slots__ = ()


MATMUL_BLOCKS = (
    "F32", "F16", "BF16", "Q8_0",
)  # fmt: skip
"""Block types a matmul weight and an embedding table may have."""

DENSE_BLOCKS = frozenset(("F32", "F16", "BF16"))
"""Block types multiplied with f32 activations; the others multiply with activations quantised to int8."""

_DECLARED = (
    # out (n_tokens, n) = x * multiplier[c] + shift[c], c = i // channel_size; x holds u8 or f32;
    # fault (n_tokens,) is 0 where every input of the token is finite, else NaN
    ("normalise_u8", "out:p fault:p x:p multiplier:p shift:p n:i channel_size:i out_stride:i"),
    ("normalise_f32", "out:p fault:p x:p multiplier:p shift:p n:i channel_size:i out_stride:i"),
    # out (n_tokens, width) = x + vector (width,)
    ("bias", "out:p x:p vector:p width:i"),
    # out (n_tokens, width) = f(x)
    ("relu", "out:p x:p width:i"),
    ("sigmoid", "out:p x:p width:i"),
    ("tanh", "out:p x:p width:i"),
    ("gelu", "out:p x:p width:i"),
    # each row of out (n_tokens, width) is positive and sums to 1
    ("softmax", "out:p x:p width:i"),
    # q: int8 codes, scales and sums of x (n_tokens, width), laid out as kernels/activations.py draws
    ("quantize", "q:p x:p width:i"),
    # x transposed for the dense tile: groups of LANES tokens, (width, LANES) f32 each
    ("interleave", "q:p x:p width:i"),
    # out (n_tokens, n_rows) = x (n_tokens, n_columns) . weight (n_rows, n_columns); q is x quantised or interleaved
    *(
        (
            f"matmul_{block}",
            "out:p x:p q:p weight:p n_rows:i n_columns:i out_stride:i scratch:p scratch_bytes:i",
        )
        for block in MATMUL_BLOCKS
    ),
)


def _op(number: int, name: str, fields: str) -> Op:
    return Op(name, number, tuple(tuple(field.split(":")) for field in fields.split()))


OPS = {name: _op(number, name, fields) for number, (name, fields) in enumerate(_DECLARED)}

EXPORTS = {
    # name: result kind, argument kinds ("v" is none)
    "realizar_run": ("v", "piiip"),  # table, n_ops, n_tokens, position, team
    "realizar_worker": ("v", "pi"),  # team, thread
    "realizar_lanes": ("i", ""),
}
"""The functions a library exports, by C name."""

# The register tile of a matmul over many tokens: rows, vectors of tokens, and the widest vector of any target.
TILE_ROWS = 4
TILE_VECTORS = 2
MIN_TILE_TOKENS = 4
MAX_LANES = 16

# Words of a team's shared memory (int64 each); 64-byte lines keep the writers apart.
TEAM_WORDS = 48
