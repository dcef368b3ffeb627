"""Copies that change a layout, for the few weights that cannot be used as they lie."""

from __future__ import annotations

from realizar_lambda.kernels.compiler import export
from realizar_lambda.kernels.memory import cast, u16p, u32p


@export
def realizar_transpose(out, x, n_rows, n_columns, n_bytes):
    """out (n_columns, n_rows) = x (n_rows, n_columns) transposed, elements of 2 or 4 bytes."""
    if n_bytes == 2:
        out16, x16 = cast(u16p, out), cast(u16p, x)
        for i in range(n_rows):
            for j in range(n_columns):
                out16[j * n_rows + i] = x16[i * n_columns + j]
    else:
        out32, x32 = cast(u32p, out), cast(u32p, x)
        for i in range(n_rows):
            for j in range(n_columns):
                out32[j * n_rows + i] = x32[i * n_columns + j]
