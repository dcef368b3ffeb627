"""The operations of a program, one method each: an architecture calls them in the order of its equations.

Each checks its buffers and tensors, and writes a `Step`; `program.py` has an example. It knows no architecture.
"""

from __future__ import annotations

from realizar_lambda import ops
from realizar_lambda.errors import CapacityError, UnsupportedError
from realizar_lambda.program import ACTIVATIONS, Buffer, Constant, Layout, rounded_up
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Vector = Tensor | Constant


def _holds_columns(buffer: Buffer, n_rows: int, n_columns: int) -> bool:
    shape = buffer.rows, buffer.width
    return shape == (rounded_up(n_rows, ops.MAX_LANES), n_columns) and buffer.element == "f32" and not buffer.is_cache


class Builder(Layout):
    """Adds operations; every method gives the buffer of its answer."""

    # Operations of classifiers

    def normalise_input(
        self,
        x: Buffer,
        multiplier: Constant,
        shift: Constant,
        *,
        out_width: int | None = None,
        for_dense: bool = False,
    ) -> Buffer:
        """x * multiplier[c] + shift[c], c the channel of the input; zeros up to `out_width`.

        The first value of a token becomes NaN where an input is not finite: no answer can then look like one.
        `for_dense` where only matmuls by plain numbers read the answer: of many tokens they find it interleaved, and
        the buffer is not written.
        """
        n_channels = len(multiplier.values)
        if len(shift.values) != n_channels or n_channels == 0 or x.width % n_channels:
            raise UnsupportedError(
                f"{n_channels} multipliers and {len(shift.values)} shifts for {x.width} inputs",
                "as many of each, a divisor of the inputs",
            )
        stride = out_width or x.width
        if stride < x.width:
            raise CapacityError("normalise_input", x.width, stride, "columns")
        name = {"u8": "normalise_u8", "f32": "normalise_f32"}.get(x.element)
        if name is None:
            raise UnsupportedError(f"features in {x.name!r} of {x.element}", "u8, f32")
        self._expect(x, x.width, x.element)
        out = self.buffer(f"{x.name}.normalised", stride)
        fields: dict[str, object] = {} if x.element == "u8" else {"q": 0}
        is_interleaved = for_dense and x.element == "f32"
        self._interleaved_alone.discard(out.index)
        if is_interleaved:
            self._room_for_ready(stride, is_dense=True)
            fields["q"] = self._q
        self._emit(
            name, out=out, x=x, multiplier=multiplier, shift=shift, n=x.width,
            channel_size=x.width // n_channels, out_stride=stride, **fields,
        )  # fmt: skip
        if is_interleaved:
            self._ready = ("interleave", out)
            self._interleaved_alone.add(out.index)
        return out

    def activation(self, name: str, x: Buffer) -> Buffer:
        """One of ACTIVATIONS, in place."""
        if name not in ACTIVATIONS:
            raise UnsupportedError(f"activation {name!r}", ACTIVATIONS)
        self._expect(x, x.width)
        self._emit(name, out=x, x=x, width=x.width)
        return x

    def argmax(self, x: Buffer) -> Buffer:
        """The index of each row's first largest value, (rows, 1) i32; -1 where the row holds a NaN."""
        self._expect(x, x.width)
        out = self.buffer(f"{x.name}.largest", 1, "i32")
        self._emit("argmax", out=out, x=x, width=x.width)
        return out

    # Operations of every model

    def matmul(
        self,
        x: Buffer,
        weight: Tensor,
        *,
        bias: Tensor | Constant | Buffer | None = None,
        residual: Buffer | None = None,
        out: Buffer | None = None,
        name: str | None = None,
        meets: bool = True,
        is_sparse: bool = False,
    ) -> Buffer:
        """x (rows, n_columns) . weight (n_rows, n_columns) + bias (n_rows,) + residual (rows, n_rows).

        The answer goes to `out`, which may be `residual` but not `x`, else to the buffer `name`. `meets=False`
        where the next operation is another matmul of the same x, which reads nothing of this answer. `is_sparse`
        where many columns of x, whose weights are plain numbers, are zero for all tokens. A bias may be the first row
        of a buffer.
        """
        n_rows, n_columns = self._matrix(weight)
        if n_columns != x.width:
            raise UnsupportedError(
                f"tensor {weight.name!r} with {n_columns} columns", f"{x.width}, the width of {x.name!r}"
            )
        self._expect(x, n_columns)
        out = out or self.buffer(name or f"{weight.name}.out", n_rows)
        self._expect(out, n_rows)
        if out is x:
            raise UnsupportedError(f"matmul of {weight.name!r} into its own input", "another buffer")
        if residual is not None:
            self._expect(residual, n_rows)
        if isinstance(bias, Buffer):
            if bias.element != "f32" or bias.width != n_rows or bias.is_cache:
                raise CapacityError(f"the bias in buffer {bias.name!r}", n_rows, bias.width, "values of f32")
        elif bias is not None:
            self._expect_vector(bias, n_rows)
        is_dense = weight.block.name in ops.DENSE_BLOCKS
        if is_sparse and not is_dense:
            raise UnsupportedError(f"a sparse matmul of type {weight.block.name}", sorted(ops.DENSE_BLOCKS))
        self._prepare(x, is_dense=is_dense)
        op = f"{'sparse_' if is_sparse else ''}matmul_{weight.block.name}"
        self._emit(
            op, meets, out=out, x=x, q=self._q, weight=weight,
            bias=0 if bias is None else bias, residual=0 if residual is None else residual,
            n_rows=n_rows, n_columns=n_columns, out_stride=n_rows, scratch=self._scratch, scratch_bytes=0,
        )  # fmt: skip
        per_column = 4 if is_dense else 2  # f32, or a code and two f32 per 16 columns
        spilled = ops.TILE_VECTORS * ops.MAX_LANES * 4
        self._need_scratch(ops.BAND_ROWS * (n_columns * per_column + spilled) + (4 * n_columns if is_sparse else 0))
        return out

    def columns(self, weight: Tensor) -> Buffer:
        """Room for the columns of an F32 weight, which `add_columns` reads once `fill_columns` has run."""
        n_rows, n_columns = self._matrix(weight)
        if weight.block.name != "F32":
            raise UnsupportedError(f"the columns of tensor {weight.name!r} of type {weight.block.name}", "F32")
        return self.input(f"{weight.name}.columns", n_columns, rows=rounded_up(n_rows, ops.MAX_LANES))

    def fill_columns(self, columns: Buffer, weight: Tensor, multiplier: Constant) -> None:
        """Lay a weight's columns out in the room that `columns` made for it, each times its channel's multiplier."""
        n_rows, n_columns = self._matrix(weight)
        n_channels = len(multiplier.values)
        if n_channels == 0 or n_columns % n_channels or multiplier.element != "f32":
            raise UnsupportedError(f"{n_channels} multipliers for {n_columns} columns", "a divisor of the columns")
        if weight.block.name != "F32" or not _holds_columns(columns, n_rows, n_columns):
            raise UnsupportedError(f"tensor {weight.name!r} in {columns.name!r}", "the buffer made for its columns")
        self._emit(
            "columns", out=columns, weight=weight, multiplier=multiplier, n_rows=n_rows, n_columns=n_columns,
            channel_size=n_columns // n_channels,
        )  # fmt: skip

    def add_columns(self, x: Buffer, columns: Buffer, bias: Buffer, *, n_rows: int, relu: bool) -> Buffer:
        """x (rows, n_columns) . weight + bias, its first row, from the weight's `columns`: zeros of x cost nothing.

        `relu` makes negative answers 0. A row with a value that is not finite gives NaN alone.
        """
        n_columns = x.width
        self._expect(x, n_columns)
        if not _holds_columns(columns, n_rows, n_columns):
            raise UnsupportedError(f"{columns.name!r} as columns of ({n_rows}, {n_columns})", "a buffer made for them")
        if bias.element != "f32" or bias.width != n_rows or bias.is_cache:
            raise CapacityError(f"the bias in buffer {bias.name!r}", n_rows, bias.width, "values of f32")
        out = self.buffer(f"{columns.name}.out", n_rows)
        self._emit(
            "add_columns", out=out, x=x, columns=columns, bias=bias, n_rows=n_rows, n_columns=n_columns,
            relu=int(relu), scratch=self._scratch, scratch_bytes=0,
        )  # fmt: skip
        self._need_scratch(4 * n_columns + (2 + ops.COLUMN_SUMS) * ops.MAX_LANES * 4)
        return out

    def rms_norm(
        self, x: Buffer, weight: Vector, epsilon: float, *, n_groups: int = 1, out: Buffer | None = None
    ) -> Buffer:
        """x / rms(x) * weight; each of `n_groups` equal parts of a row alone. In place where `out` is x."""
        if n_groups < 1 or x.width % n_groups:
            raise UnsupportedError(f"{n_groups} groups in a row of {x.width}", "a divisor")
        width = x.width // n_groups
        self._expect(x, x.width)
        self._expect_vector(weight, width)
        out = out or self.buffer("normed", x.width)
        self._expect(out, x.width)
        self._emit("rms_norm", out=out, x=x, weight=weight, width=width, n_groups=n_groups, epsilon=epsilon)
        return out

    def layer_norm(
        self,
        x: Buffer,
        weight: Tensor | Constant,
        bias: Tensor | Constant,
        epsilon: float,
        *,
        out: Buffer | None = None,
    ) -> Buffer:
        """(x - mean) / std * weight + bias."""
        self._expect(x, x.width)
        self._expect_vector(weight, x.width)
        self._expect_vector(bias, x.width)
        out = out or self.buffer("normed", x.width)
        self._expect(out, x.width)
        self._emit("layer_norm", out=out, x=x, weight=weight, bias=bias, width=x.width, epsilon=epsilon)
        return out

    def add(self, x: Buffer, y: Buffer) -> Buffer:
        """x + y, into x."""
        self._expect(x, x.width)
        self._expect(y, x.width)
        self._emit("add", out=x, x=x, y=y, width=x.width)
        return x

    def gated(self, name: str, gate: Buffer, up: Buffer) -> Buffer:
        """silu(gate) * up or gelu(gate) * up, into gate; `name` is "silu" or "gelu"."""
        if name not in ("silu", "gelu"):
            raise UnsupportedError(f"gate {name!r}", "silu, gelu")
        self._expect(gate, gate.width)
        self._expect(up, gate.width)
        self._emit(f"{name}_times", out=gate, gate=gate, up=up, width=gate.width)
        return gate

    def soft_cap(self, x: Buffer, cap: float) -> Buffer:
        """cap * tanh(x / cap), in place."""
        self._expect(x, x.width)
        self._emit("soft_cap", out=x, x=x, width=x.width, cap=cap)
        return x

    def multiply(self, x: Buffer, factor: float) -> Buffer:
        """x * factor, in place."""
        self._expect(x, x.width)
        self._emit("multiply", out=x, x=x, width=x.width, factor=factor)
        return x

    def clamp(self, x: Buffer, limit: float) -> Buffer:
        """x held to [-limit, limit], in place."""
        self._expect(x, x.width)
        self._emit("clamp", out=x, x=x, width=x.width, limit=float(limit))
        return x

    # Operations of language models

    def embed(self, ids: Buffer, weight: Tensor, *, scale: float = 1.0) -> Buffer:
        """Row `ids[token]` of weight (n_vocab, width), times `scale`; the caller keeps ids within the vocabulary."""
        _, width = self._matrix(weight)
        if ids.element != "i32" or ids.width != 1:
            raise UnsupportedError(f"token ids in {ids.name!r} of {ids.element}", "i32 of width 1")
        self._expect(ids, 1, "i32")
        out = self.buffer("stream", width)
        self._emit(f"embed_{weight.block.name}", out=out, ids=ids, weight=weight, width=width, scale=float(scale))
        return out

    def add_positions(self, x: Buffer, weight: Tensor, capacity: int) -> Buffer:
        """x + row of weight (n_positions, width) F32 at each token's position; a context is at most `capacity`."""
        if weight.block.name != "F32" or weight.shape[-1] != x.width or len(weight.data) < capacity * x.width * 4:
            raise UnsupportedError(
                f"tensor {weight.name!r} of type {weight.block.name} and shape {weight.shape}",
                f"F32 of at least {capacity} rows of {x.width}",
            )
        self._expect(x, x.width)
        self._emit("add_positions", out=x, weight=weight, width=x.width)
        return x

    def rope_angles(self, frequencies: Iterable[float], *, magnitude: float = 1.0) -> Buffer:
        """The angles of every token's position: (rows, n, 2), for the `rope` of each layer."""
        constant = self.constant(frequencies, "f64")
        n = len(constant.values)
        out = self.buffer("angles", 2 * n)
        self._emit("rope_angles", angles=out, frequencies=constant, n=n, magnitude=float(magnitude))
        return out

    def rope(self, x: Buffer, angles: Buffer, *, n_heads: int, layout: str, meets: bool = True) -> Buffer:
        """Turn each head's first values by the angles, in place; `layout` is "pairs" or "halves"."""
        head_width = x.width // max(n_heads, 1)
        if head_width * n_heads != x.width or angles.width > head_width or layout not in ("pairs", "halves"):
            raise UnsupportedError(
                f"rope {layout!r} of {angles.width} values in {n_heads} heads of {x.name!r}", "pairs, halves"
            )
        self._expect(x, x.width)
        self._expect(angles, angles.width)
        self._emit(
            f"rope_{layout}", meets, x=x, angles=angles, n=angles.width // 2, n_heads=n_heads, head_width=head_width
        )
        if self._ready is not None and self._ready[1] is x:
            self._ready = None
        return x

    def store(self, cache: Buffer, x: Buffer, *, meets: bool = True) -> None:
        """Put the rows of x (rows, n_kv_heads * head_width) into a cache, at their positions."""
        n_heads = self._cache_heads.get(cache.index, 0)
        if n_heads * cache.width != x.width:
            raise CapacityError(f"cache {cache.name!r}", x.width, n_heads * cache.width, "columns")
        self._expect(x, x.width)
        self._emit(
            f"store_{cache.element}",
            meets,
            cache=cache,
            x=x,
            n_heads=n_heads,
            head_width=cache.width,
            capacity=cache.rows // n_heads,
        )

    def attention(
        self,
        q: Buffer,
        keys: Buffer,
        values: Buffer,
        *,
        n_heads: int,
        n_kv_heads: int,
        scale: float,
        window: int = 0,
        cap: float = 0.0,
        slopes: Constant | None = None,
    ) -> Buffer:
        """softmax(scale * q . keys) . values of every head, causal; see `ops.OPS` for window, cap and slopes."""
        head_width = keys.width
        if (
            n_heads < 1 or n_kv_heads < 1 or n_heads % n_kv_heads or q.width != n_heads * head_width
            or self._cache_heads.get(keys.index) != n_kv_heads or self._cache_heads.get(values.index) != n_kv_heads
            or keys[1:4] != values[1:4]
            or (slopes is not None and (len(slopes.values), slopes.element) != (n_heads, "f32")) or window < 0
        ):  # fmt: skip
            raise UnsupportedError(
                f"attention of {n_heads} heads over {n_kv_heads} of width {head_width} in {q.name!r} ({q.width})",
                "heads of one width, a multiple of the key heads",
            )
        self._expect(q, q.width)
        out = self.buffer("attended", q.width)
        self._emit(
            f"attention_{keys.element}", out=out, q=q, keys=keys, values=values, slopes=0 if slopes is None else slopes,
            n_heads=n_heads, n_kv_heads=n_kv_heads, head_width=head_width, capacity=keys.rows // n_kv_heads,
            window=window, scale=float(scale), cap=float(cap), scratch=self._scratch, scratch_bytes=0,
        )  # fmt: skip
        queries = ops.TILE_VECTORS * ops.MAX_LANES
        per_column = 2 * queries + ops.ATTENTION_BLOCK
        self._need_scratch(4 * (head_width * per_column + 2 * queries * (ops.ATTENTION_BLOCK + 1)))
        return out

    def last_row(self, x: Buffer, out: Buffer) -> None:
        """The last token's row of x, as the first row of `out`."""
        if out.width != x.width or out.element != "f32" or out.is_cache:
            raise CapacityError(f"buffer {out.name!r}", x.width, out.width, "columns")
        self._expect(x, x.width)
        self._emit("last_row", out=out, x=x, width=x.width)
