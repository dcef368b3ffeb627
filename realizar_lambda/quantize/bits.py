"""Bit fields and half floats inside stored blocks. It knows no block type.

GGML packs small integers so that one mask and one shift give many neighbours at once. A *run* is a group of
bytes that are shifted together: with `bits` = 4 and `run` = 16,

    byte      0     1         15
            ┌────┬────┬─┬────┐
    low     │  0 │  1 │…│ 15 │   values 0..15 are the low nibbles of the run,
    high    │ 16 │ 17 │…│ 31 │   values 16..31 its high nibbles
            └────┴────┴─┴────┘

Two-bit fields give four such lines to a run, one-bit fields eight. `run` = 1 is plain little-endian order.
"""

from __future__ import annotations

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]


def unpack(packed: Bytes, *, bits: int, run: int) -> Bytes:
    """packed (n, n_bytes) u8 -> values (n, n_bytes * 8 / bits) u8."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(-1, 1)
    fields = packed.reshape(len(packed), -1, 1, run) >> shifts
    fields &= np.uint8((1 << bits) - 1)
    return fields.reshape(len(packed), -1)


def pack(values: NDArray[np.integer], *, bits: int, run: int) -> Bytes:
    """values (n, n_values), each below 2**bits -> packed (n, n_values * bits / 8) u8; undoes `unpack`."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8).reshape(-1, 1)
    fields = values.astype(np.uint8).reshape(len(values), -1, 8 // bits, run) << shifts
    packed: Bytes = np.bitwise_or.reduce(fields, axis=2)
    return packed.reshape(len(values), -1)


def read_f16(column: Bytes) -> Floats:
    """column (n, 2 k) u8, little-endian halves -> (n, k) f32, exactly."""
    halves = np.ascontiguousarray(column).view("<f2")
    return halves.astype(np.float32)


def write_f16(values: Floats) -> Bytes:
    """values (n, k) f32 -> (n, 2 k) u8, rounded to the nearest half."""
    return values.astype("<f2").view(np.uint8)


def to_f16(values: Floats) -> Floats:
    """Each value as the nearest half, in f32: what a reader of the block will see."""
    return values.astype(np.float16).astype(np.float32)
