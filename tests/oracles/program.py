"""The reference executor: walks a program in float64 NumPy, one obvious line per operation. Never imports the package.

A program is read by its shape alone: `steps` of `op` and `fields`, where a field is a buffer (`index`, `rows`,
`width`), a tensor (`block`, `shape`, `data`), a constant (`values`, `element`) or a number; and `sections`, which
name the steps from `begin` to before `end`.

    machine = Machine(program)
    machine.write(buffer, rows)
    machine.run(n_tokens, position)        -> the program's output (n_tokens, width)
    machine.rows(buffer, n_tokens)         -> any buffer's rows

Memory stays between runs, as it does in a session: a cache that one run fills the next one reads. Weights, and keys
and values in a cache, count as they are stored; activations are exact: what a kernel loses by quantising them is its
error, not ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from oracles import blocks

F64 = np.ndarray

DENSE = {"F32": "<f4", "F16": "<f2"}
CONSTANTS = {"f32": np.float32, "f64": np.float64}


def decoded(tensor: object) -> F64:
    """The values of a stored tensor in its shape."""
    name = tensor.block.name
    if name in DENSE:
        values = np.frombuffer(tensor.data, DENSE[name])
    else:
        values = blocks.decode(name, bytes(tensor.data))
    return values.astype(np.float64).reshape(tensor.shape)


class Fields:
    """The fields of one step as attributes: buffers as the rows of this run (writable), everything else by value."""

    def __init__(self, machine: Machine, step: object, n_tokens: int, position: int) -> None:
        self.machine = machine
        self.fields = step.fields
        self.n_tokens = n_tokens
        self.position = position

    def __getattr__(self, name: str) -> object:
        return self.machine.value(self.fields[name], self.n_tokens)

    def all_of(self, name: str) -> F64:
        """A buffer's whole memory, flat."""
        return self.machine.memory(self.fields[name])

    def has(self, name: str) -> bool:
        """Whether an optional field is there: it is the number 0 where it is not."""
        return not isinstance(self.fields[name], int)


class Machine:
    """A program's memory: a flat float64 array for each buffer, made when it is first used."""

    def __init__(self, program: object) -> None:
        self.program = program
        self._memory: dict[int, F64] = {}
        self._decoded: dict[str, F64] = {}

    def memory(self, buffer: object) -> F64:
        """A buffer's whole memory, flat."""
        if buffer.index not in self._memory:
            self._memory[buffer.index] = np.zeros(buffer.rows * buffer.width)
        return self._memory[buffer.index]

    def rows(self, buffer: object, n_tokens: int) -> F64:
        """The first rows of a buffer (as many as there are, where it holds fewer); a view."""
        flat = self.memory(buffer)[: n_tokens * buffer.width]
        return flat.reshape(-1, buffer.width)

    def write(self, buffer: object, rows: Iterable[Iterable[float]]) -> None:
        """Fill the first rows of an input."""
        values = np.asarray(rows, np.float64).reshape(-1)
        self.memory(buffer)[: len(values)] = values

    def value(self, field: object, n_tokens: int) -> object:
        if hasattr(field, "block"):
            if field.name not in self._decoded:
                self._decoded[field.name] = decoded(field)
            return self._decoded[field.name]
        if hasattr(field, "values"):
            return np.array(field.values, CONSTANTS[field.element]).astype(np.float64)
        if hasattr(field, "rows"):
            return self.rows(field, n_tokens)
        return field

    def run(self, n_tokens: int, position: int = 0, *, first: str = "main", last: str | None = None) -> F64:
        """Run the sections from `first` to `last` over the first `n_tokens` rows; a copy of the output's rows."""
        sections = self.program.sections
        with np.errstate(all="ignore"):
            for step in self.program.steps[sections[first].begin : sections[last or first].end]:
                OPERATIONS[step.op](Fields(self, step, n_tokens, position))
        return self.rows(self.program.output, n_tokens).copy()


# Classifiers


def normalise(f: Fields) -> None:
    f.out[:] = 0.0
    f.out[:, : f.n] = f.x * np.repeat(f.multiplier, f.channel_size) + np.repeat(f.shift, f.channel_size)
    f.out[~np.isfinite(f.x).all(axis=1), 0] = np.nan


def softmax(f: Fields) -> None:
    powers = np.exp(f.x - f.x.max(axis=1, keepdims=True))
    f.out[:] = powers / powers.sum(axis=1, keepdims=True)


# One value at a time


def sigmoid(x: F64) -> F64:
    return 1.0 / (1.0 + np.exp(-x))


def silu(x: F64) -> F64:
    return x * sigmoid(x)


def gelu_tanh(x: F64) -> F64:
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x: F64) -> F64:
    return 0.5 * x * (1.0 + np.vectorize(math.erf, otypes=[float])(x / np.sqrt(2.0)))


def each(function: Callable[[F64], F64]) -> Callable[[Fields], None]:
    def apply(f: Fields) -> None:
        f.out[:] = function(f.x)

    return apply


def times(function: Callable[[F64], F64]) -> Callable[[Fields], None]:
    def apply(f: Fields) -> None:
        f.out[:] = function(f.gate) * f.up

    return apply


def add(f: Fields) -> None:
    f.out[:] = f.x + f.y


def soft_cap(f: Fields) -> None:
    f.out[:] = f.cap * np.tanh(f.x / f.cap)


def multiply(f: Fields) -> None:
    f.out[:] = f.x * f.factor


def clamp(f: Fields) -> None:
    f.out[:] = f.x.clip(-f.limit, f.limit)


# Matrices


def make_ready(f: Fields) -> None:
    """Quantised or interleaved activations are a kernel's own affair: a matmul here reads the exact ones."""


def matmul(f: Fields) -> None:
    product = f.x @ f.weight.T
    if "bias" in f.fields and f.has("bias"):
        product += f.bias.reshape(-1)
    if "residual" in f.fields and f.has("residual"):
        product += f.residual[:, : f.n_rows]
    f.out[:, : f.n_rows] = product


def columns(f: Fields) -> None:
    """A kernel pads and transposes as it likes; here the weight lies as it is."""
    f.all_of("out")[: f.n_rows * f.n_columns] = (f.weight * np.repeat(f.multiplier, f.channel_size)).reshape(-1)


def add_columns(f: Fields) -> None:
    weight = f.all_of("columns")[: f.n_rows * f.n_columns].reshape(f.n_rows, f.n_columns)
    product = f.x @ weight.T + f.all_of("bias")[: f.n_rows]
    product[~np.isfinite(f.x).all(axis=1)] = np.nan
    f.out[:] = np.where(product < 0.0, 0.0, product) if f.relu else product


# Transformers


def embed(f: Fields) -> None:
    f.out[:] = f.weight[f.ids[:, 0].astype(int)] * f.scale


def add_positions(f: Fields) -> None:
    f.out[:] += f.weight[f.position : f.position + f.n_tokens]


def rms_norm(f: Fields) -> None:
    x = f.x.reshape(f.n_tokens, f.n_groups, f.width)
    f.out[:] = (x / np.sqrt((x**2).mean(axis=2, keepdims=True) + f.epsilon) * f.weight.reshape(-1)).reshape(f.x.shape)


def layer_norm(f: Fields) -> None:
    middle = f.x - f.x.mean(axis=1, keepdims=True)
    deviation = np.sqrt((middle**2).mean(axis=1, keepdims=True) + f.epsilon)
    f.out[:] = middle / deviation * f.weight.reshape(-1) + f.bias.reshape(-1)


def rope_angles(f: Fields) -> None:
    turn = (f.position + np.arange(f.n_tokens))[:, None] * f.frequencies.reshape(-1)
    f.angles[:] = f.magnitude * np.stack([np.cos(turn), np.sin(turn)], axis=2).reshape(f.n_tokens, -1)


def rope(first: Callable[[int], slice], second: Callable[[int], slice]) -> Callable[[Fields], None]:
    def turn(f: Fields) -> None:
        cosine, sine = f.angles.reshape(f.n_tokens, 1, f.n, 2).transpose(3, 0, 1, 2)
        heads = f.x.reshape(f.n_tokens, f.n_heads, f.head_width)
        a, b = heads[:, :, first(f.n)].copy(), heads[:, :, second(f.n)].copy()
        heads[:, :, first(f.n)] = a * cosine - b * sine
        heads[:, :, second(f.n)] = a * sine + b * cosine

    return turn


def store(element: type) -> Callable[[Fields], None]:
    def put(f: Fields) -> None:
        cache = f.all_of("cache").reshape(f.n_heads, f.capacity, f.head_width)
        rows = f.x.reshape(f.n_tokens, f.n_heads, f.head_width).astype(np.float32).astype(element)
        cache[:, f.position : f.position + f.n_tokens] = rows.transpose(1, 0, 2)

    return put


def attention(f: Fields) -> None:
    shape = (f.n_kv_heads, f.capacity, f.head_width)
    keys, values = f.all_of("keys").reshape(shape), f.all_of("values").reshape(shape)
    queries = f.q.reshape(f.n_tokens, f.n_heads, f.head_width)
    slopes = f.slopes.reshape(-1) if f.has("slopes") else np.zeros(f.n_heads)
    answers = np.empty(queries.shape)
    for token in range(f.n_tokens):
        last = f.position + token
        first = max(0, last - f.window + 1) if f.window > 0 else 0
        distance = last - np.arange(first, last + 1)
        for head in range(f.n_heads):
            group = head * f.n_kv_heads // f.n_heads
            scores = keys[group, first : last + 1] @ queries[token, head] * f.scale
            if f.cap != 0.0:
                scores = f.cap * np.tanh(scores / f.cap)
            scores -= slopes[head] * distance
            weights = np.exp(scores - scores.max())
            answers[token, head] = weights / weights.sum() @ values[group, first : last + 1]
    f.out[:] = answers.reshape(f.n_tokens, -1)


def last_row(f: Fields) -> None:
    f.all_of("out")[: f.width] = f.x[-1]


def argmax(f: Fields) -> None:
    f.out[:, 0] = np.where(np.isnan(f.x).any(axis=1), -1, f.x.argmax(axis=1))


OPERATIONS: dict[str, Callable[[Fields], None]] = {
    "normalise_u8": normalise,
    "normalise_f32": normalise,
    "relu": each(lambda x: np.maximum(x, 0.0)),
    "sigmoid": each(sigmoid),
    "tanh": each(np.tanh),
    "gelu": each(gelu_tanh),
    "gelu_erf": each(gelu_erf),
    "softmax": softmax,
    "quantize": make_ready,
    "interleave": make_ready,
    **{f"matmul_{name}": matmul for name in blocks.DECODERS},
    **{f"sparse_matmul_{name}": matmul for name in ("F32", "F16", "BF16")},
    "columns": columns,
    "add_columns": add_columns,
    **{f"embed_{name}": embed for name in blocks.DECODERS},
    "add_positions": add_positions,
    "rms_norm": rms_norm,
    "layer_norm": layer_norm,
    "rope_angles": rope_angles,
    "rope_pairs": rope(lambda n: slice(0, 2 * n, 2), lambda n: slice(1, 2 * n, 2)),
    "rope_halves": rope(lambda n: slice(0, n), lambda n: slice(n, 2 * n)),
    "store_f16": store(np.float16),
    "store_f32": store(np.float32),
    "attention_f16": attention,
    "attention_f32": attention,
    "silu_times": times(silu),
    "gelu_times": times(gelu_tanh),
    "add": add,
    "soft_cap": soft_cap,
    "multiply": multiply,
    "clamp": clamp,
    "last_row": last_row,
    "argmax": argmax,
}
