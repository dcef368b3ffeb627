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

from realizar_lambda.architectures.rope import frequencies
from realizar_lambda.builder import Builder
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.program import Program
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.program import Buffer, Constant

HEAD_ROWS = 16
"""How many rows of logits one run of the head makes."""


UNUSED = (
    *("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"),
    *("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias"),
)
"""Endings of tensors that an answer may do without: divisors for other contexts, tables that checkpoints carry."""


class Decoder:
    """Builds one program for contexts of at most `capacity` tokens, prefilled `chunk` tokens at a time.

    `n_q` is how many values the queries of a token have, `n_kv` its keys, and its values.
    """

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
        self.n_q, self.n_kv = config.n_heads * config.head_width, config.n_kv_heads * config.head_width
        self._rename = rename or (lambda name: name)
        self._cache_element = cache_element
        self.b = Builder(max_tokens=chunk, n_threads=n_threads)
        self.ids = self.b.input("ids", 1, "i32")
        self._angles: Buffer | None = None
        self._used: set[str] = set()

    # Weights

    def layers(self) -> Iterator[str]:
        """The prefix of each layer's tensors."""
        for number in range(self.config.n_layers):
            yield f"blk.{number}."

    def has(self, name: str) -> bool:
        return self._rename(name) in self.file.tensors

    def tensor(self, name: str) -> Tensor:
        """The tensor of this GGUF name; FormatError where the file has none."""
        own = self._rename(name)
        found = self.file.tensors.get(own)
        if found is None:
            raise FormatError(self.file.path, None, f"no tensor {own!r}, which {self.config.architecture} needs")
        self._used.add(own)
        return found

    def n_rows(self, name: str) -> int:
        """How many values W x of this name has."""
        found = self.tensor(f"{name}.weight")
        if len(found.shape) != 2:
            raise self._wrong(found, "a matrix")
        return int(found.shape[0])

    def vector(self, name: str, width: int) -> Tensor:
        """A bias or norm weight (width,) F32."""
        found = self.tensor(name)
        if found.shape != (width,) or found.block.name != "F32":
            raise self._wrong(found, f"F32, F16 or BF16 of shape ({width},)")
        return found

    def _matrix(self, name: str, n_rows: int, n_columns: int) -> Tensor:
        found = self.tensor(name)
        if found.shape != (n_rows, n_columns):
            raise self._wrong(found, f"of shape ({n_rows}, {n_columns})")
        return found

    def _wrong(self, tensor: Tensor, allowed: str) -> FormatError:
        what = f"tensor {tensor.name!r} is {tensor.block.name} of shape {tensor.shape}, must be {allowed}"
        return FormatError(self.file.path, tensor.offset, what)

    @staticmethod
    def _rows(tensor: Tensor, begin: int, end: int) -> Tensor:
        """Rows begin to end - 1 of a matrix or vector, in place."""
        row_bytes = len(tensor.data) // tensor.shape[0]
        return tensor._replace(
            name=f"{tensor.name}[{begin}:{end}]",
            shape=(end - begin, *tensor.shape[1:]),
            data=tensor.data[begin * row_bytes : end * row_bytes],
        )

    # Equations

    def embed(self, *, scale: float = 1.0) -> Buffer:
        """The row of each token's id."""
        weight = self._matrix("token_embd.weight", self.config.n_vocab, self.config.width)
        return self.b.embed(self.ids, weight, scale=scale)

    def add_positions(self, x: Buffer) -> Buffer:
        """x + the row of each token's position."""
        weight = self.tensor("position_embd.weight")
        if weight.block.name != "F32" or weight.shape[1:] != (x.width,) or weight.shape[0] < self.capacity:
            raise self._wrong(weight, f"({self.capacity} or more, {x.width})")
        return self.b.add_positions(x, weight, self.capacity)

    def linear(
        self, x: Buffer, name: str, *, n_rows: int | None = None, residual: Buffer | None = None, meets: bool = True
    ) -> Buffer:
        """W x + b (+ residual, into it), with the bias where the file has one; W has `n_rows` where that is given."""
        weight = self.tensor(f"{name}.weight")
        if residual is not None:
            n_rows = residual.width
        if len(weight.shape) != 2 or n_rows not in (None, weight.shape[0]) or weight.shape[1] != x.width:
            raise self._wrong(weight, f"of shape ({n_rows or 'any'}, {x.width})")
        return self.b.matmul(
            x, weight, bias=self._bias(name, weight.shape[0]), residual=residual, out=residual,
            name=name.rpartition(".")[2], meets=meets,
        )  # fmt: skip

    def split(self, x: Buffer, name: str, **n_rows: int) -> Iterator[Buffer]:
        """W x + b in parts: of `q=64, k=32` the first 64 rows of W go to a buffer "q", and so on to its last row."""
        total = sum(n_rows.values())
        weight, bias = self._matrix(f"{name}.weight", total, x.width), self._bias(name, total)
        begin = 0
        for part, n in n_rows.items():
            end = begin + n
            yield self.b.matmul(
                x, self._rows(weight, begin, end), bias=None if bias is None else self._rows(bias, begin, end),
                name=part, meets=end == total,
            )  # fmt: skip
            begin = end

    def _bias(self, name: str, width: int) -> Tensor | None:
        return self.vector(f"{name}.bias", width) if self.has(f"{name}.bias") else None

    def rms_norm(self, x: Buffer, name: str, *, n_groups: int = 1, in_place: bool = False) -> Buffer:
        weight = self.vector(f"{name}.weight", x.width // n_groups)
        return self.b.rms_norm(x, weight, self.config.norm_epsilon, n_groups=n_groups, out=x if in_place else None)

    def layer_norm(self, x: Buffer, name: str, *, in_place: bool = False) -> Buffer:
        weight = self.vector(f"{name}.weight", x.width)
        bias = self._bias(name, x.width) or self.b.constant([0.0] * x.width)
        return self.b.layer_norm(x, weight, bias, self.config.norm_epsilon, out=x if in_place else None)

    def rope(self, q: Buffer, k: Buffer, layout: str) -> None:
        """Turn queries and keys by their positions."""
        if self._angles is None:
            values, magnitude = frequencies(self.config.rope, self._divisors(), capacity=self.capacity)
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
                    raise self._wrong(found, f"F32 of shape ({n},)")
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

    def alibi_slopes(self) -> Constant | None:
        """A slope per head: a falling geometric series, denser where the heads are no power of two (Press, 2021).

        None where the largest bias is 0.
        """
        n, bias = self.config.n_heads, self.config.max_alibi_bias
        if bias == 0.0:
            return None
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
        logits = self.linear(normalised, name, n_rows=self.config.n_vocab)
        if self.config.logit_cap:
            self.b.soft_cap(logits, self.config.logit_cap)
        self._check_all_used()
        return self.b.finish(logits)

    def _check_all_used(self) -> None:
        """A tensor that no equation reads means another model than this family: its answers would be wrong."""
        for name, tensor in self.file.tensors.items():
            if name not in self._used and not name.endswith(UNUSED):
                raise UnsupportedError(
                    f"tensor {name!r} of shape {tensor.shape} in a {self.config.architecture} model",
                    "models whose every tensor has a part in the answer",
                )
