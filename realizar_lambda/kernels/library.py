"""Every kernel of the library, imported in a fixed order, and its emission: `python -m ... OBJECT`."""

from __future__ import annotations

import sys

from realizar_lambda.kernels import activations, compiler, elementwise, executor, matmul

CONTENTS = (executor, elementwise, activations, matmul)

if __name__ == "__main__":
    with open(sys.argv[1], "wb") as file:
        file.write(compiler.emit())
