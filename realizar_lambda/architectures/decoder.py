"""What the families of decoder-only transformers share: weights by name, caches, and one method per equation.

A family is a function of a `Decoder` that walks the layers and returns the stream after the last one:

    def llama(m):
        x = m.embed()
        for layer in m.layers():
            ...
        return x

It knows no tokens and no text. Shapes: every stream is (tokens, width).
"""

from __future__ import annotations

import struct
from array import array

from realizar_lambda.architectures.rope import frequencies
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.program import Builder, Program
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.program import Buffer, Constant

HEAD_ROWS = 16
"""How many rows of logits one run of the head makes."""


class Decoder:
    """Builds one program for contexts of at most `capacity` tokens, prefilled `chunk` tokens at a time."""

    def __init__(
        self,
        file: ModelFile,
        config: Config,
        rename: Callable[[str], str] | None = None,
        *,
        capacity: int,
        chunk: int,
        cache_element: str,
        n_threads: int,
    ) -> None:
        self.file = file
        self.config = config
        self.capacity = capacity
        self._rename = rename or (lambda name: name)
        self._cache_element = cache_element
        self.b = Builder(max_tokens=chunk, n_threads=n_threads)
        self.ids = self.b.input("ids", 1, "i32")
        self._angles: Buffer | None = None

    # Weights

    def layers(self) -> Iterator[str]:
        """The prefix of each layer's tensors."""
        for number in range(self.config.n_layers):
            yield f"blk.{number}."

    def has(self, name: str) -> bool:
        return self._rename(name) in self.file.tensors

    def tensor(self, name: str) -> Tensor:
        """The tensor of this GGUF name; FormatError where the file has none."""
        found = self.file.tensors.get(self._rename(name))
        if found is None:
            raise FormatError(
                self.file.path, None, f"no tensor {self._rename(name)!r}, which {self.config.architecture} needs"
            )
        return found

    def vector(self, name: str) -> Tensor | Constant:
        """A bias or norm weight: used where it lies if F32, else its few values converted."""
        return self._as_vector(self.tensor(name))

    def _as_vector(self, found: Tensor) -> Tensor | Constant:
        if found.block.name == "F32" or found.block.name not in ("F16", "BF16"):
            return found
        raw = bytes(found.data)
        if found.block.name == "F16":
            return self.b.constant(struct.unpack(f"<{len(raw) // 2}e", raw))
        widened = bytearray(2 * len(raw))
        widened[2::4], widened[3::4] = raw[::2], raw[1::2]
        return self.b.constant(array("f", bytes(widened)))

    @staticmethod
    def rows(tensor: Tensor, begin: int, end: int) -> Tensor:
        """Rows begin to end - 1 of a matrix or vector, in place."""
        n_rows = tensor.shape[0]
        if not 0 <= begin < end <= n_rows:
            raise UnsupportedError(f"rows {begin} to {end} of {tensor.name!r}", f"0 to {n_rows}")
        row_bytes = len(tensor.data) // n_rows
        return tensor._replace(
            shape=(end - begin, *tensor.shape[1:]), data=tensor.data[begin * row_bytes : end * row_bytes]
        )

    # Equations

    def embed(self, *, scale: float = 1.0) -> Buffer:
        """The row of each token's id."""
        return self.b.embed(self.ids, self.tensor("token_embd.weight"), scale=scale)

    def linear(
        self, x: Buffer, name: str, *, rows: tuple[int, int] | None = None, residual: Buffer | None = None,
        out: str | None = None, meets: bool = True,
    ) -> Buffer:  # fmt: skip
        """W x + b (+ residual, into it), with the bias where the file has one; `rows` picks a part of W and b."""
        weight = self.tensor(f"{name}.weight")
        bias = self.tensor(f"{name}.bias") if self.has(f"{name}.bias") else None
        if rows is not None:
            weight = self.rows(weight, *rows)
            bias = None if bias is None else self.rows(bias, *rows)
        return self.b.matmul(
            x, weight, bias=None if bias is None else self._as_vector(bias), residual=residual, out=residual,
            name=out or name.rpartition(".")[2], meets=meets,
        )  # fmt: skip

    def rms_norm(self, x: Buffer, name: str, *, n_groups: int = 1, in_place: bool = False) -> Buffer:
        weight = self.vector(f"{name}.weight")
        return self.b.rms_norm(x, weight, self.config.norm_epsilon, n_groups=n_groups, out=x if in_place else None)

    def layer_norm(self, x: Buffer, name: str, *, in_place: bool = False) -> Buffer:
        weight = self.vector(f"{name}.weight")
        if self.has(f"{name}.bias"):
            bias = self.vector(f"{name}.bias")
        else:
            bias = self.b.constant([0.0] * x.width)
        return self.b.layer_norm(x, weight, bias, self.config.norm_epsilon, out=x if in_place else None)

    def rope(self, q: Buffer, k: Buffer, layout: str) -> None:
        """Turn queries and keys by their positions."""
        if self._angles is None:
            values, magnitude = frequencies(self.config.rope, self._divisors())
            self._angles = self.b.rope_angles(values, magnitude=magnitude)
        self.b.rope(q, self._angles, n_heads=self.config.n_heads, layout=layout, meets=False)
        self.b.rope(k, self._angles, n_heads=self.config.n_kv_heads, layout=layout, meets=False)

    def _divisors(self) -> tuple[float, ...] | None:
        is_long = self.capacity > self.config.rope.original_context
        for name in ("rope_freqs.weight", f"rope_factors_{'long' if is_long else 'short'}.weight"):
            if self.has(name):
                found = self.tensor(name)
                n = self.config.rope.n_rotated // 2
                if found.block.name != "F32" or found.shape != (n,):
                    raise FormatError(
                        self.file.path, found.offset, f"{name} is {found.block.name} {found.shape}, must be F32 ({n},)"
                    )
                values: tuple[float, ...] = struct.unpack(f"<{n}f", found.data)
                if not all(1e-6 < value < 1e9 for value in values):
                    raise FormatError(self.file.path, found.offset, f"{name} holds a factor outside (1e-6, 1e9)")
                return values
        return None

    def attention(
        self, layer: str, q: Buffer, k: Buffer, v: Buffer, *, window: int | None = None, slopes: Constant | None = None
    ) -> Buffer:
        """Put k and v in the layer's caches, and attend to all they hold."""
        c = self.config
        keys, values = (
            self.b.cache(
                f"{layer}{part}", n_heads=c.n_kv_heads, head_width=c.head_width, capacity=self.capacity,
                element=self._cache_element,
            )
            for part in ("keys", "values")
        )  # fmt: skip
        self.b.store(keys, k, meets=False)  # the thread that turned a head of k stores it
        self.b.store(values, v)
        return self.b.attention(
            q, keys, values, n_heads=c.n_heads, n_kv_heads=c.n_kv_heads, scale=c.query_scale,
            window=c.window if window is None else window, cap=c.attention_cap, slopes=slopes,
        )  # fmt: skip

    def alibi_slopes(self) -> Constant:
        """A slope per head: a falling geometric series, denser where the heads are no power of two (Press, 2021)."""
        n, bias = self.config.n_heads, self.config.max_alibi_bias
        power = 1 << (n.bit_length() - 1)
        slopes = [2.0 ** (-bias * (h + 1) / power) for h in range(power)]
        slopes += [2.0 ** (-bias / 2 * (2 * h + 1) / power) for h in range(n - power)]
        return self.b.constant(slopes)

    # The end

    def finish(self, stream: Buffer, normalise: Callable[[Decoder, Buffer], Buffer]) -> Program:
        """The program: sections "main" (the layers), "last" (its last row) and "head" (rows to logits)."""
        last = self.b.input("last", stream.width, rows=HEAD_ROWS)
        self.b.section("last", max_tokens=self.b.max_tokens)
        self.b.last_row(stream, last)
        self.b.section("head", max_tokens=HEAD_ROWS)
        normalised = normalise(self, last)
        name = "output" if self.has("output.weight") else "token_embd"
        logits = self.linear(normalised, name, out="logits")
        if self.config.logit_cap:
            self.b.soft_cap(logits, self.config.logit_cap)
        return self.b.finish(logits)
