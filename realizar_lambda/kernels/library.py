"""Every kernel of the library, imported in a fixed order, and its emission: `python -m ... OBJECT`."""

from __future__ import annotations

import gc
import sys

from realizar_lambda.kernels import (
    activations,
    attention,
    compiler,
    copies,
    elementwise,
    embedding,
    executor,
    lexicon,
    matmul_columns,
    matmul_dense,
    matmul_quantized,
    merging,
    norms,
    positions,
    sampling,
    scoring,
    segmenting,
    splitting,
    strings,
)

CONTENTS = (
    copies, strings, executor, elementwise, activations, matmul_quantized, matmul_dense, matmul_columns, embedding,
    norms, positions, attention, lexicon, splitting, merging, segmenting, sampling, scoring,
)  # fmt: skip

if __name__ == "__main__":
    gc.disable()  # nothing is given up before the end: looking for garbage took a sixth of the time
    with open(sys.argv[1], "wb") as file:
        file.write(compiler.emit())
