"""A model as a program: a flat list of operations over named buffers, checked once, then run unchecked.

It knows operations and memory, not architectures: those call `Builder`'s methods in the order of their equations.

    builder = Builder(max_tokens=32)
    x = builder.input("x", 784)
    hidden = builder.matmul(x, weight)          weight: a Tensor (n_rows, n_columns)
    ...
    program = builder.finish(output)
    session = Session(program, team)            memory of its own; one caller at a time
    session.write(x, data); session.run(n_tokens); session.read(output, n_tokens)

Every buffer is (max_tokens, width) f32 unless it says otherwise. All shapes, block types and bounds are checked
when the operation is added: a program that could be built reads nothing outside its tensors and its arena.
"""

from __future__ import annotations

import struct
from collections import namedtuple

from realizar_lambda import native, ops
from realizar_lambda.errors import CapacityError, UnsupportedError
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

ALIGNMENT = 64
MAX_WIDTH = 1 << 24
MAX_ARENA_BYTES = 1 << 40


class Buffer(namedtuple("Buffer", "name width n_bytes index element")):
    """Working memory: `width` values of `element` ("f32", "u8", "i8", ...) per token, `n_bytes` in all."""

    __slots__ = ()


class Constant(namedtuple("Constant", "values index")):
    """A few f32 values that belong to the program (a normalisation's multipliers)."""

    __slots__ = ()


class Step(namedtuple("Step", "op fields meets")):
    """One operation: its name, its fields (name to Buffer, Tensor, Constant, int or float), and whether the
    team meets after it."""

    __slots__ = ()


class Program(namedtuple("Program", "steps buffers constants max_tokens n_threads output")):
    """A finished program: `steps` in order, every buffer and constant by index, and the buffer of the answer."""

    __slots__ = ()


def _up(n: int, multiple: int) -> int:
    return (n + multiple - 1) // multiple * multiple


class Builder:
    """Adds operations and buffers; see the module's example. `n_threads` is the size of the team to come."""

    def __init__(self, *, max_tokens: int, n_threads: int = 1) -> None:
        self.max_tokens = max_tokens
        self.n_threads = n_threads
        self._steps: list[Step] = []
        self._buffers: list[Buffer] = []
        self._constants: list[Constant] = []
        self._ready: tuple[str, Buffer] | None = None
        self._ready_bytes = 0
        self._scratch_bytes = 0
        self._padded_tokens = _up(max_tokens, ops.MAX_LANES)
        self._q = self._add_buffer("activations", 0, 0, "i8")
        self._scratch = self._add_buffer("scratch", 0, 0, "f32")

    # Memory

    def buffer(self, name: str, width: int) -> Buffer:
        """An f32 buffer (max_tokens, width)."""
        if not 0 < width <= MAX_WIDTH:
            raise UnsupportedError(f"buffer {name!r} of width {width}", f"1 to {MAX_WIDTH}")
        return self._add_buffer(name, width, self.max_tokens * width * 4, "f32")

    def input(self, name: str, width: int, element: str = "f32") -> Buffer:
        """A buffer that the caller writes: f32, or u8 of one byte per value."""
        if not 0 < width <= MAX_WIDTH:
            raise UnsupportedError(f"input {name!r} of width {width}", f"1 to {MAX_WIDTH}")
        size = {"f32": 4, "u8": 1}[element]
        return self._add_buffer(name, width, self.max_tokens * width * size, element)

    def constant(self, values: Iterable[float]) -> Constant:
        """A vector of f32 that the program keeps."""
        made = Constant(tuple(values), len(self._constants))
        self._constants.append(made)
        return made

    def _add_buffer(self, name: str, width: int, n_bytes: int, element: str) -> Buffer:
        made = Buffer(name, width, n_bytes, len(self._buffers), element)
        self._buffers.append(made)
        return made

    # Operations

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
        out = self.buffer(f"{x.name}.normalised", stride)
        name = "normalise_u8" if x.element == "u8" else "normalise_f32"
        self._emit(
            name, out=out, fault=fault, x=x, multiplier=multiplier, shift=shift, n=x.width,
            channel_size=x.width // n_channels, out_stride=stride,
        )  # fmt: skip
        return out

    def matmul(self, x: Buffer, weight: Tensor, *, out: Buffer | None = None, meets: bool = True) -> Buffer:
        """x (n_tokens, n_columns) . weight (n_rows, n_columns), each row of the weight giving one value."""
        block = weight.block
        if block.name not in ops.MATMUL_BLOCKS:
            raise UnsupportedError(f"tensor {weight.name!r} of type {block.name} in a matmul", ops.MATMUL_BLOCKS)
        if len(weight.shape) != 2 or min(weight.shape) < 1:
            raise UnsupportedError(f"tensor {weight.name!r} of shape {weight.shape} in a matmul", "(n_rows, n_columns)")
        n_rows, n_columns = weight.shape
        if n_columns != x.width:
            raise UnsupportedError(
                f"tensor {weight.name!r} with {n_columns} columns", f"{x.width}, the width of {x.name!r}"
            )
        if n_columns % block.n_elements or len(weight.data) != n_rows * block.row_bytes(n_columns):
            raise UnsupportedError(f"tensor {weight.name!r} of {len(weight.data)} bytes", "whole blocks in each row")
        out = out or self.buffer(f"{weight.name}.out", n_rows)
        self._expect(out, n_rows)
        self._prepare(x, is_dense=block.name in ops.DENSE_BLOCKS)
        self._emit(
            f"matmul_{block.name}", meets, out=out, x=x, q=self._q, weight=weight, n_rows=n_rows, n_columns=n_columns,
            out_stride=n_rows, scratch=self._scratch, scratch_bytes=0,
        )  # fmt: skip
        spilled = ops.TILE_ROWS * ops.TILE_VECTORS * ops.MAX_LANES * 4
        per_column = 4 if block.name in ops.DENSE_BLOCKS else 2  # f32, or a code and two f32 per 16 columns
        self._scratch_bytes = max(self._scratch_bytes, _up(ops.TILE_ROWS * n_columns * per_column + spilled, ALIGNMENT))
        return out

    def bias(self, x: Buffer, vector: Tensor | Constant, *, out: Buffer | None = None) -> Buffer:
        """x + vector, in place unless `out` is given."""
        self._expect_vector(vector, x.width)
        return self._each("bias", x, out, vector=vector)

    def activation(self, name: str, x: Buffer, *, out: Buffer | None = None) -> Buffer:
        """relu, sigmoid, tanh, gelu or softmax of x, in place unless `out` is given."""
        if name not in ACTIVATIONS:
            raise UnsupportedError(f"activation {name!r}", ACTIVATIONS)
        return self._each(name, x, out)

    def _each(self, name: str, x: Buffer, out: Buffer | None, **fields: object) -> Buffer:
        out = out or x
        self._expect(out, x.width)
        self._emit(name, True, out=out, x=x, width=x.width, **fields)
        return out

    # Checks

    def _prepare(self, x: Buffer, *, is_dense: bool) -> None:
        """Quantise or interleave x for the matmuls to come, unless the last ones left it so."""
        name = "interleave" if is_dense else "quantize"
        if self._ready == (name, x):
            return
        if not is_dense and x.width % 32:
            raise UnsupportedError(f"quantised activations of width {x.width}", "a multiple of 32")
        # int8 codes, f32 scales per 32, sums per 16 and per 32: 1.5 bytes a value; or one f32
        self._ready_bytes = max(self._ready_bytes, self._padded_tokens * x.width * (8 if is_dense else 3) // 2)
        self._emit(name, q=self._q, x=x, width=x.width)
        self._ready = (name, x)

    def _expect(self, buffer: Buffer, width: int) -> None:
        if buffer.element != "f32" or buffer.n_bytes < self.max_tokens * width * 4 or buffer.width != width:
            raise CapacityError(f"buffer {buffer.name!r}", width, buffer.width, "columns")

    def _expect_vector(self, vector: Tensor | Constant, width: int) -> None:
        if isinstance(vector, Constant):
            if len(vector.values) != width:
                raise CapacityError("a constant vector", width, len(vector.values), "values")
            return
        if vector.block.name != "F32" or vector.n_elements != width or len(vector.data) != width * 4:
            raise UnsupportedError(
                f"tensor {vector.name!r} of type {vector.block.name} and shape {vector.shape}",
                f"F32 of shape ({width},)",
            )

    def _emit(self, op: str, meets: bool = True, /, **fields: object) -> None:
        declared = ops.OPS[op].fields
        if {name for name, _ in declared} != fields.keys():
            raise UnsupportedError(f"fields {sorted(fields)} for {op}", [name for name, _ in declared])
        if self._ready is not None and fields.get("out") is self._ready[1]:
            self._ready = None  # what was made ready has changed
        self._steps.append(Step(op, fields, meets))

    def finish(self, output: Buffer) -> Program:
        """The program; no operation may be added afterwards."""
        self._buffers[self._q.index] = self._q._replace(n_bytes=self._ready_bytes)
        self._buffers[self._scratch.index] = self._scratch._replace(n_bytes=self._scratch_bytes * self.n_threads)
        steps = [
            Step(step.op, {**step.fields, "scratch_bytes": self._scratch_bytes}, step.meets)
            if "scratch_bytes" in step.fields
            else step
            for step in self._steps
        ]
        return Program(
            tuple(steps),
            tuple(self._buffers),
            tuple(self._constants),
            self.max_tokens,
            self.n_threads,
            output,
        )


ACTIVATIONS = ("relu", "sigmoid", "tanh", "gelu", "softmax")


class Session:
    """A program with memory of its own: its arena, its table of records. One caller at a time."""

    def __init__(self, program: Program, team: native.Team) -> None:
        if team.n_threads != program.n_threads:
            raise CapacityError("the program's scratch", team.n_threads, program.n_threads, "threads")
        self.program = program
        self.team = team
        self._offsets: list[int] = []
        offset = 0
        for buffer in program.buffers:
            self._offsets.append(offset)
            offset += _up(buffer.n_bytes, ALIGNMENT)
        constants_at = []
        for constant in program.constants:
            constants_at.append(offset)
            offset += _up(len(constant.values) * 4, ALIGNMENT)
        if offset > MAX_ARENA_BYTES:
            raise CapacityError("the program's arena", offset, MAX_ARENA_BYTES)
        table_at, table_bytes = offset, len(program.steps) * ops.RECORD_BYTES
        self._memory = native.allocate(offset + table_bytes)
        self.n_bytes = offset + table_bytes
        self.bytes = memoryview(self._memory)
        start = native.address(self._memory)
        for constant, place in zip(program.constants, constants_at, strict=True):
            struct.pack_into(f"<{len(constant.values)}f", self._memory, place, *constant.values)
        addresses = [start + place for place in self._offsets]
        constant_addresses = [start + place for place in constants_at]
        for number, step in enumerate(program.steps):
            self._write_record(table_at + number * ops.RECORD_BYTES, step, addresses, constant_addresses)
        self._table = start + table_at
        self._n_ops = len(program.steps)

    def _write_record(self, place: int, step: Step, addresses: list[int], constant_addresses: list[int]) -> None:
        declared = ops.OPS[step.op]
        struct.pack_into("<q", self._memory, place, declared.number)
        for name, kind in declared.fields:
            place += 8
            value = step.fields[name]
            if isinstance(value, Buffer):
                value = addresses[value.index]
            elif isinstance(value, Tensor):
                value = native.address(value.data)
            elif isinstance(value, Constant):
                value = constant_addresses[value.index]
            struct.pack_into("<d" if kind == "f" else "<q", self._memory, place, value)
        last = place + 8 * (ops.RECORD_WORDS - 1 - len(declared.fields))
        struct.pack_into("<q", self._memory, last, int(step.meets))

    def view(self, buffer: Buffer, n_tokens: int) -> memoryview[Any]:
        """The first `n_tokens` rows of a buffer, writable: format "f", or "B" for u8."""
        size = buffer.width * n_tokens * (1 if buffer.element == "u8" else 4)
        if not 0 <= n_tokens <= self.program.max_tokens or size > buffer.n_bytes:
            raise CapacityError(f"buffer {buffer.name!r}", n_tokens, self.program.max_tokens, "tokens")
        start = self._offsets[buffer.index]
        return self.bytes[start : start + size].cast("B" if buffer.element == "u8" else "f")

    def run(self, n_tokens: int, position: int = 0) -> None:
        """Run the program over rows 0 to n_tokens - 1 of its inputs."""
        if not 0 < n_tokens <= self.program.max_tokens:
            raise CapacityError("the program", n_tokens, self.program.max_tokens, "tokens")
        self.team.run(self._table, self._n_ops, n_tokens, position)
