"""Running a program: its arena, its table of records, one native call. It knows no operation but by its table."""

from __future__ import annotations

import struct

from realizar_lambda import native, ops
from realizar_lambda.errors import CapacityError
from realizar_lambda.program import (
    ALIGNMENT,
    ELEMENT_BYTES,
    FORMATS,
    MAX_ARENA_BYTES,
    MAX_POSITIONS,
    Buffer,
    Constant,
    Program,
    Step,
    rounded_up,
)
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


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
            offset += 0 if buffer.is_cache else rounded_up(buffer.n_bytes, ALIGNMENT)
        constants_at = []
        for constant in program.constants:
            constants_at.append(offset)
            offset += rounded_up(len(constant.values) * 8, ALIGNMENT)
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


def _capacity(step: Step) -> int:
    """The positions that a step has room for."""
    if step.op == "add_positions":
        return int(step.fields["weight"].n_elements // step.fields["width"])
    return int(step.fields.get("capacity", MAX_POSITIONS))
