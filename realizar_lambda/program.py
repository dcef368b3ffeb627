"""A model as a program: a flat list of operations over named buffers, checked once, then run unchecked.

It knows operations and memory, not architectures: those call `Builder`'s methods in the order of their equations.

    b = Builder(max_tokens=32)
    x = b.input("x", 784)
    h = b.activation("relu", b.matmul(x, weight, bias=bias))        weight: a Tensor (n_rows, n_columns)
    program = b.finish(h)
    session = Session(program, team)            memory of its own; one caller at a time
    session.view(x, 1)[:] = data; session.run(1); answer = session.view(h, 1)

A buffer is (rows, width) f32 unless it says otherwise, a row per token. All shapes, block types and bounds are
checked when an operation is added: a program that could be built reads nothing outside its tensors, its arena and
the caches that a session is given.
"""

from __future__ import annotations

import struct
from collections import namedtuple
from reprlib import repr as short_repr

from realizar_lambda import native, ops
from realizar_lambda.errors import CapacityError, UnsupportedError
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

ALIGNMENT = 64
MAX_WIDTH = 1 << 24
MAX_ARENA_BYTES = 1 << 40
MAX_POSITIONS = 1 << 40
ELEMENT_BYTES = {"f32": 4, "u8": 1, "i32": 4, "f16": 2, "i8": 1}
FORMATS = {"f32": "f", "u8": "B", "i32": "i"}
MAX_NUMBER = {"f32": 3.4028234663852886e38, "f64": 1.7976931348623157e308}
ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "gelu_erf", "softmax")


class Buffer(namedtuple("Buffer", "name width rows element index is_cache")):
    """Working memory: `rows` rows of `width` values of `element`. A cache is memory that the session is given."""

    __slots__ = ()

    @property
    def n_bytes(self) -> int:
        return int(self.width * self.rows * ELEMENT_BYTES[self.element])


class Constant(namedtuple("Constant", "values element index")):
    """A few numbers that belong to the program (a normalisation's multipliers), as "f32" or "f64"."""

    __slots__ = ()


class Step(namedtuple("Step", "op fields meets")):
    """One operation: its name, its fields (name to Buffer, Tensor, Constant, int or float; 0 for no address), and
    whether the team meets after it."""

    __slots__ = ()


class Section(namedtuple("Section", "name begin end max_tokens")):
    """A part of a program that can be run alone: steps begin to end - 1, over at most `max_tokens` rows."""

    __slots__ = ()


class Program(namedtuple("Program", "steps buffers constants sections n_threads output")):
    """A finished program: `steps` in order, buffers and constants by index, sections by name."""

    __slots__ = ()

    @property
    def n_arena_bytes(self) -> int:
        """Working memory of a session, caches aside."""
        return sum(_up(buffer.n_bytes, ALIGNMENT) for buffer in self.buffers if not buffer.is_cache)


if TYPE_CHECKING:
    Vector = Tensor | Constant


def _up(n: int, multiple: int) -> int:
    return (n + multiple - 1) // multiple * multiple


class Builder:
    """Adds operations and buffers; see the module's example. `n_threads` is the size of the team to come."""

    def __init__(self, *, max_tokens: int, n_threads: int = 1) -> None:
        self.max_tokens = max_tokens
        self.n_threads = n_threads
        self._steps: list[Step] = []
        self._buffers: list[Buffer] = []
        self._named: dict[tuple[str, int, str], Buffer] = {}
        self._constants: list[Constant] = []
        self._cache_heads: dict[int, int] = {}
        self._sections = [Section("main", 0, 0, max_tokens)]
        self._ready: tuple[str, Buffer] | None = None
        self._ready_bytes = 0
        self._scratch_bytes = 0
        self._q = self._add_buffer("activations", 0, 1, "i8")
        self._scratch = self._add_buffer("scratch", 0, 1, "i8")

    # Memory

    def section(self, name: str, *, max_tokens: int) -> None:
        """Begin a new section, whose buffers have `max_tokens` rows."""
        self._close_section()
        self._sections.append(Section(name, len(self._steps), 0, max_tokens))
        self.max_tokens = max_tokens
        self._named = {}
        self._ready = None

    def _close_section(self) -> None:
        self._sections[-1] = self._sections[-1]._replace(end=len(self._steps))

    def buffer(self, name: str, width: int, element: str = "f32") -> Buffer:
        """A buffer (max_tokens, width); the one made before where name, width and element are the same."""
        if (name, width, element) not in self._named:
            self._named[name, width, element] = self.input(name, width, element)
        return self._named[name, width, element]

    def input(self, name: str, width: int, element: str = "f32", *, rows: int | None = None) -> Buffer:
        """A buffer of its own, for what the caller writes: "f32", "u8" or "i32"; of max_tokens rows by default."""
        if not 0 < width <= MAX_WIDTH or element not in FORMATS:
            raise UnsupportedError(
                f"buffer {name!r} of width {width} of {element}", f"1 to {MAX_WIDTH} of f32, u8, i32"
            )
        return self._add_buffer(name, width, rows or self.max_tokens, element)

    def cache(self, name: str, *, n_heads: int, head_width: int, capacity: int, element: str) -> Buffer:
        """Memory (n_heads, capacity, head_width) of "f16" or "f32" that a session is given."""
        if element not in ("f16", "f32") or min(n_heads, head_width, capacity) < 1:
            raise UnsupportedError(f"cache {name!r} ({n_heads}, {capacity}, {head_width}) of {element}", "f16, f32")
        made = Buffer(name, head_width, n_heads * capacity, element, len(self._buffers), True)
        self._buffers.append(made)
        self._cache_heads[made.index] = n_heads
        return made

    def constant(self, values: Iterable[float], element: str = "f32") -> Constant:
        """A vector of "f32" or "f64" that the program keeps."""
        made = Constant(tuple(values), element, len(self._constants))
        if any(not -MAX_NUMBER[element] <= value <= MAX_NUMBER[element] for value in made.values):
            raise UnsupportedError(f"a constant of {short_repr(made.values)}", f"finite numbers in {element}")
        self._constants.append(made)
        return made

    def _add_buffer(self, name: str, width: int, rows: int, element: str) -> Buffer:
        made = Buffer(name, width, rows, element, len(self._buffers), False)
        self._buffers.append(made)
        return made

    # Operations of classifiers

    def normalise_input(
        self, x: Buffer, multiplier: Constant, shift: Constant, fault: Buffer, *, out_width: int | None = None
    ) -> Buffer:
        """x * multiplier[c] + shift[c], c the channel of the input; zeros up to `out_width`.

        `fault` (max_tokens, 1) becomes 0 where a token's inputs are all finite, else NaN.
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
        self._expect(fault, 1)
        name = {"u8": "normalise_u8", "f32": "normalise_f32"}.get(x.element)
        if name is None:
            raise UnsupportedError(f"features in {x.name!r} of {x.element}", "u8, f32")
        self._expect(x, x.width, x.element)
        out = self.buffer(f"{x.name}.normalised", stride)
        self._emit(
            name, out=out, fault=fault, x=x, multiplier=multiplier, shift=shift, n=x.width,
            channel_size=x.width // n_channels, out_stride=stride,
        )  # fmt: skip
        return out

    def activation(self, name: str, x: Buffer) -> Buffer:
        """One of ACTIVATIONS, in place."""
        if name not in ACTIVATIONS:
            raise UnsupportedError(f"activation {name!r}", ACTIVATIONS)
        self._expect(x, x.width)
        self._emit(name, out=x, x=x, width=x.width)
        return x

    # Operations of every model

    def matmul(
        self,
        x: Buffer,
        weight: Tensor,
        *,
        bias: Tensor | Constant | None = None,
        residual: Buffer | None = None,
        out: Buffer | None = None,
        name: str | None = None,
        meets: bool = True,
    ) -> Buffer:
        """x (rows, n_columns) . weight (n_rows, n_columns) + bias (n_rows,) + residual (rows, n_rows).

        The answer goes to `out`, which may be `residual` but not `x`, else to the buffer `name`. `meets=False`
        where the next operation is another matmul of the same x, which reads nothing of this answer.
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
        if bias is not None:
            self._expect_vector(bias, n_rows)
        is_dense = weight.block.name in ops.DENSE_BLOCKS
        self._prepare(x, is_dense=is_dense)
        self._emit(
            f"matmul_{weight.block.name}", meets, out=out, x=x, q=self._q, weight=weight,
            bias=0 if bias is None else bias, residual=0 if residual is None else residual,
            n_rows=n_rows, n_columns=n_columns, out_stride=n_rows, scratch=self._scratch, scratch_bytes=0,
        )  # fmt: skip
        spilled = ops.TILE_ROWS * ops.TILE_VECTORS * ops.MAX_LANES * 4
        per_column = 4 if is_dense else 2  # f32, or a code and two f32 per 16 columns
        self._need_scratch(ops.TILE_ROWS * n_columns * per_column + spilled)
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

    # Checks

    def _matrix(self, weight: Tensor) -> tuple[int, int]:
        block = weight.block
        if block.name not in ops.MATMUL_BLOCKS:
            raise UnsupportedError(f"tensor {weight.name!r} of type {block.name} in a matmul", ops.MATMUL_BLOCKS)
        if len(weight.shape) != 2 or min(weight.shape) < 1 or max(weight.shape) > MAX_WIDTH:
            raise UnsupportedError(f"tensor {weight.name!r} of shape {weight.shape} in a matmul", "(n_rows, n_columns)")
        n_rows, n_columns = weight.shape
        if n_columns % block.n_elements or len(weight.data) != n_rows * block.row_bytes(n_columns):
            raise UnsupportedError(f"tensor {weight.name!r} of {len(weight.data)} bytes", "whole blocks in each row")
        return n_rows, n_columns

    def _need_scratch(self, n_bytes: int) -> None:
        self._scratch_bytes = max(self._scratch_bytes, _up(n_bytes, ALIGNMENT))

    def _prepare(self, x: Buffer, *, is_dense: bool) -> None:
        """Quantise or interleave x for the matmuls to come, unless the last ones left it so."""
        name = "interleave" if is_dense else "quantize"
        if self._ready is not None and self._ready[0] == name and self._ready[1] is x:
            return
        if not is_dense and x.width % 32:
            raise UnsupportedError(f"quantised activations of width {x.width}", "a multiple of 32")
        # int8 codes, f32 scales per 32, sums per 16 and per 32: 1.5 bytes a value; or one f32
        if self._steps and not self._steps[-1].meets:  # another thread may still read what is about to be overwritten
            self._steps[-1] = self._steps[-1]._replace(meets=True)
        padded = _up(self.max_tokens, ops.MAX_LANES)
        self._ready_bytes = max(self._ready_bytes, padded * x.width * (8 if is_dense else 3) // 2)
        self._emit(name, q=self._q, x=x, width=x.width)
        self._ready = (name, x)

    def _expect(self, buffer: Buffer, width: int, element: str = "f32") -> None:
        if buffer.element != element or buffer.is_cache or buffer.width != width or buffer.rows < self.max_tokens:
            what = f"buffer {buffer.name!r} of {buffer.rows} rows of {buffer.element}"
            raise CapacityError(
                f"{what}, of which {self.max_tokens} of {element} are wanted,", width, buffer.width, "columns"
            )

    def _expect_vector(self, vector: Tensor | Constant, width: int) -> None:
        if isinstance(vector, Constant):
            if len(vector.values) != width or vector.element != "f32":
                raise CapacityError("a constant vector", width, len(vector.values), "values")
        elif vector.block.name != "F32" or vector.n_elements != width or len(vector.data) != width * 4:
            raise UnsupportedError(
                f"tensor {vector.name!r} of type {vector.block.name} and shape {vector.shape}",
                f"F32 of shape ({width},)",
            )

    def _is_own(self, value: object) -> bool:
        if isinstance(value, Buffer):
            return bool(value.index < len(self._buffers) and self._buffers[value.index] == value)
        if isinstance(value, Constant):
            return bool(value.index < len(self._constants) and self._constants[value.index] == value)
        return True

    def _emit(self, op: str, meets: bool = True, /, **fields: object) -> None:
        declared = ops.OPS[op].fields
        if {name for name, _ in declared} != fields.keys():
            raise UnsupportedError(f"fields {sorted(fields)} for {op}", [name for name, _ in declared])
        for value in fields.values():
            if not self._is_own(value):
                raise UnsupportedError(f"{short_repr(value)} of another program in {op}", "this builder's own")
        if self._ready is not None and fields.get("out") is self._ready[1]:
            self._ready = None  # what was made ready has changed
        self._steps.append(Step(op, fields, meets))

    def finish(self, output: Buffer) -> Program:
        """The program; no operation may be added afterwards."""
        self._close_section()
        self._buffers[self._q.index] = self._q._replace(width=self._ready_bytes)
        self._buffers[self._scratch.index] = self._scratch._replace(width=self._scratch_bytes * self.n_threads)
        steps = [
            step._replace(fields={**step.fields, "scratch_bytes": self._scratch_bytes})
            if "scratch_bytes" in step.fields
            else step
            for step in self._steps
        ]
        sections = {section.name: section for section in self._sections}
        return Program(tuple(steps), tuple(self._buffers), tuple(self._constants), sections, self.n_threads, output)


def _capacity(step: Step) -> int:
    """The positions that a step has room for."""
    if step.op == "add_positions":
        return int(step.fields["weight"].n_elements // step.fields["width"])
    return int(step.fields.get("capacity", MAX_POSITIONS))


class Session:
    """A program with memory of its own: its arena, its table of records. One caller at a time.

    `caches` maps the names of the program's caches to buffers of exactly their size.
    """

    def __init__(self, program: Program, team: native.Team, *, caches: Mapping[str, Any] | None = None) -> None:
        if team.n_threads != program.n_threads:
            raise CapacityError("the program's scratch", team.n_threads, program.n_threads, "threads")
        self.program = program
        self.team = team
        self._caches = dict(caches or {})
        self._prepared: list[object] = []
        self._offsets: list[int] = []
        offset = 0
        for buffer in program.buffers:
            self._offsets.append(offset)
            offset += 0 if buffer.is_cache else _up(buffer.n_bytes, ALIGNMENT)
        constants_at = []
        for constant in program.constants:
            constants_at.append(offset)
            offset += _up(len(constant.values) * 8, ALIGNMENT)
        if offset > MAX_ARENA_BYTES:
            raise CapacityError("the program's arena", offset, MAX_ARENA_BYTES)
        self.n_bytes = offset + len(program.steps) * ops.RECORD_BYTES
        self._memory = native.allocate(self.n_bytes)
        self.bytes = memoryview(self._memory)
        start = native.address(self._memory)
        for constant, place in zip(program.constants, constants_at, strict=True):
            kind = "d" if constant.element == "f64" else "f"
            struct.pack_into(f"<{len(constant.values)}{kind}", self._memory, place, *constant.values)
        addresses = [
            self._cache_address(buffer) if buffer.is_cache else start + place
            for buffer, place in zip(program.buffers, self._offsets, strict=True)
        ]
        constant_addresses = [start + place for place in constants_at]
        for number, step in enumerate(program.steps):
            self._write_record(offset + number * ops.RECORD_BYTES, step, addresses, constant_addresses)
        self._table = start + offset
        self._capacity = min(map(_capacity, program.steps), default=MAX_POSITIONS)

    def _cache_address(self, buffer: Buffer) -> int:
        memory = self._caches.get(buffer.name)
        size = 0 if memory is None else memoryview(memory).nbytes
        if size != buffer.n_bytes:
            raise CapacityError(f"cache {buffer.name!r}", buffer.n_bytes, size)
        return native.address(memory)

    def _write_record(self, place: int, step: Step, addresses: list[int], constant_addresses: list[int]) -> None:
        declared = ops.OPS[step.op]
        words: list[float] = [declared.number]
        kinds = "q"
        for name, kind in declared.fields:
            value = step.fields[name]
            if isinstance(value, Buffer):
                value = addresses[value.index]
            elif isinstance(value, Tensor):
                value = native.address(value.data)
            elif isinstance(value, Constant):
                value = constant_addresses[value.index]
            words.append(value)
            kinds += "d" if kind == "f" else "q"
        kinds += "q" * (ops.RECORD_WORDS - len(words))
        words += [0] * (ops.RECORD_WORDS - 1 - len(words)) + [int(step.meets)]
        struct.pack_into(f"<{kinds}", self._memory, place, *words)

    def view(self, buffer: Buffer, n_rows: int) -> memoryview[Any]:
        """The first `n_rows` rows of a buffer of the arena, writable, in the buffer's element."""
        if not 0 <= n_rows <= buffer.rows or buffer.is_cache or buffer.element not in FORMATS:
            raise CapacityError(f"buffer {buffer.name!r}", n_rows, buffer.rows, "rows")
        start = self._offsets[buffer.index]
        size = buffer.width * n_rows * ELEMENT_BYTES[buffer.element]
        return self.bytes[start : start + size].cast(FORMATS[buffer.element])  # type: ignore[call-overload, no-any-return]

    def run(self, n_tokens: int, position: int = 0, *, first: str = "main", last: str | None = None) -> None:
        """Run the section `first`, or all from it to the section `last`, over rows 0 to n_tokens - 1."""
        sections = self.program.sections
        begin, end = sections[first], sections[last or first]
        limit = min(begin.max_tokens, end.max_tokens)
        if not 0 < n_tokens <= limit or position < 0:
            raise CapacityError(f"section {first!r} at position {position}", n_tokens, limit, "tokens")
        if position + n_tokens > self._capacity:
            raise CapacityError("the context", position + n_tokens, self._capacity, "tokens")
        self.team.run(self._table + begin.begin * ops.RECORD_BYTES, end.end - begin.begin, n_tokens, position)

    def prepared_call(self, n_tokens: int, *, holds_gil: bool) -> tuple[Callable[[int], None], int]:
        """(function, argument) such that function(argument) does what run(n_tokens) does, at the least cost, for a
        team of one.

        `holds_gil` for programs of microseconds.
        """
        section = self.program.sections["main"]
        if not 0 < n_tokens <= section.max_tokens or self.team.n_threads != 1:
            raise CapacityError("a prepared call", n_tokens, section.max_tokens, "tokens")
        arguments = native.allocate(40)
        self._prepared.append(arguments)
        struct.pack_into("<5q", arguments, 0, self._table, section.end, n_tokens, 0, self.team.address)
        library = self.team.library.holding if holds_gil else self.team.library
        return library.call, native.address(arguments)
