"""Walking over strings that lie one after another in a file, each a u64 length and its bytes."""

from __future__ import annotations

from realizar_lambda.kernels.compiler import export
from realizar_lambda.kernels.memory import address_of, cast, read_u64, u64p


@export
def realizar_skip_strings(data, n_bytes, start, n_strings, most, offsets):
    """Where `n_strings` strings from byte `start` on end; -1 where one is longer than `most` or than what is left.

    `offsets`, where it is not 0, gets the position of each string's length. Nothing outside `data` is read.
    """
    position = start
    positions = cast(u64p, offsets)
    for i in range(n_strings):
        if position + 8 > n_bytes:
            return -1
        length = read_u64(data, position)
        if length < 0 or length > most or length > n_bytes - position - 8:
            return -1
        if address_of(offsets) != 0:
            positions[i] = position
        position += 8 + length
    return position
