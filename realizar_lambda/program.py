"""A model as a program: a flat list of operations over named buffers, checked once, then run unchecked.

Here are the values it is made of and the `Layout` that lays out its memory and checks every operation that is added;
`builder.py` has the operations, `session.py` runs the program.

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

from reprlib import repr as short_repr

from realizar_lambda import ops
from realizar_lambda.errors import CapacityError, UnsupportedError
from realizar_lambda.record import namedtuple
from realizar_lambda.tensor import Tensor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

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
        return sum(rounded_up(buffer.n_bytes, ALIGNMENT) for buffer in self.buffers if not buffer.is_cache)


if TYPE_CHECKING:
    Vector = Tensor | Constant


def rounded_up(n: int, multiple: int) -> int:
    """The least multiple of `multiple` that is at least n."""
    return (n + multiple - 1) // multiple * multiple


class Layout:
    """The memory of a program in the making, and the checks that its operations share.

    `max_tokens` bounds the rows of a run, `n_threads` is the size of the team to come.
    """

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
        self._interleaved_alone: set[int] = set()  # the buffers that `q` stands for
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
        self._scratch_bytes = max(self._scratch_bytes, rounded_up(n_bytes, ALIGNMENT))

    def _prepare(self, x: Buffer, *, is_dense: bool) -> None:
        """Quantise or interleave x for the matmuls to come, unless the last ones left it so."""
        name = "interleave" if is_dense else "quantize"
        if self._ready is not None and self._ready[0] == name and self._ready[1] is x:
            return
        if not is_dense and x.width % 32:
            raise UnsupportedError(f"quantised activations of width {x.width}", "a multiple of 32")
        self._room_for_ready(x.width, is_dense=is_dense)
        self._emit(name, q=self._q, x=x, width=x.width)
        self._ready = (name, x)

    def _room_for_ready(self, width: int, *, is_dense: bool) -> None:
        """See that `q` can be written next: that it has room, and that no thread still reads it."""
        if self._steps and not self._steps[-1].meets:
            self._steps[-1] = self._steps[-1]._replace(meets=True)
        padded = rounded_up(self.max_tokens, ops.MAX_LANES)
        if is_dense:
            n_bytes = padded * width * 4
        else:  # int8 codes, f32 scales per 32, sums per 16 and per 32: 1.5 bytes a value; few tokens lie in slices
            n_slices = min(self.max_tokens, ops.MIN_TILE_TOKENS - 1) * -(-width // ops.SLICE_COLUMNS)
            n_bytes = max(padded * width * 3 // 2, n_slices * ops.SLICE_BYTES)
        self._ready_bytes = max(self._ready_bytes, n_bytes)

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
            is_alone = isinstance(value, Buffer) and value.index in self._interleaved_alone
            if is_alone and not ("matmul" in op and self._ready == ("interleave", value)):
                what = f"buffer {short_repr(value.name)}, which was made interleaved, in {op}"  # type: ignore[attr-defined]
                raise UnsupportedError(what, "a matmul by plain numbers before any other of another input")
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
