"""Programs to build and to run in tests: a builder with a buffer of every kind, tensors of zeros, a small program."""

from __future__ import annotations

import numpy as np

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.program import Buffer, Program
from realizar_lambda.tensor import Tensor


def tensor(shape: tuple[int, ...], block: str = "F32", *, n_bytes: int | None = None, name: str = "w") -> Tensor:
    """A tensor of zeros; `n_bytes` other than its shape's."""
    kind = BLOCKS[block]
    size = int(np.prod(shape)) // kind.n_elements * kind.n_bytes if n_bytes is None else n_bytes
    return Tensor(name, shape, kind, memoryview(bytes(size)), 0)


class Parts:
    """A builder of four rows with a buffer of every kind, for a rejected operation to be tried on."""

    def __init__(self) -> None:
        self.b = Builder(max_tokens=4)
        self.x = self.b.input("x", 8)
        self.y = self.b.input("y", 8)
        self.wide = self.b.input("wide", 64)
        self.one = self.b.input("one", 1)
        self.bytes = self.b.input("bytes", 8, "u8")
        self.ids = self.b.input("ids", 1, "i32")
        self.short = self.b.input("short", 8, rows=3)
        self.angles = self.b.rope_angles([1.0, 0.5])
        self.keys, self.values = (
            self.b.cache(name, n_heads=2, head_width=4, capacity=10, element="f16") for name in ("keys", "values")
        )
        self.other = self.b.cache("other", n_heads=2, head_width=4, capacity=10, element="f32")
        self.v8 = self.b.constant([1.0] * 8)
        self.stranger = Builder(max_tokens=4).input("stranger", 8)

    def attend(self, q: Buffer | None = None, **changes: object) -> Buffer:
        settings = {"keys": self.keys, "values": self.values, "n_heads": 2, "n_kv_heads": 2, "scale": 1.0} | changes
        return self.b.attention(q or self.x, settings.pop("keys"), settings.pop("values"), **settings)


def small(n_threads: int = 1) -> tuple[Program, Buffer]:
    builder = Builder(max_tokens=4, n_threads=n_threads)
    x = builder.input("x", 8)
    return builder.finish(builder.activation("relu", builder.matmul(x, tensor((3, 8))))), x
