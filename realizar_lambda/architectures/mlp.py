"""A multi-layer perceptron (and its simplest case, logistic regression) as a program.

    h_0 = (raw * scale - mean) / std
    h_i = activation(W_i h_{i-1} + b_i)          i < n
    p   = softmax(W_n h_{n-1} + b_n)             or sigmoid

Tensors: `layers.{i}.weight` (out, in) of any matmul type, `layers.{i}.bias` (out,) F32. A quantised weight whose
row is no whole number of blocks is stored with zero columns up to one; docs/apr-mlp.md has the metadata.
"""

from __future__ import annotations

from math import prod
from reprlib import repr as short_repr

from realizar_lambda import ops
from realizar_lambda.builder import Builder
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.program import ACTIVATIONS, Program
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.tensor import Tensor

MAX_INPUTS = 1 << 20
MAX_LAYERS = 256
MAX_NUMBER = 1e30
"""Of a normalisation's numbers, and of what is computed from them: well inside an f32."""
OUTPUTS = ("softmax", "sigmoid")


LEAST_SPARSE_ROWS = 16
"""Rows from which on a first layer of plain numbers leaves out zero features: fewer cost less than a look for them."""


MOST_COLUMN_VALUES = 1 << 18
"""Values of a first layer up to which it is laid out by columns: more than a megabyte would not stay in a cache."""

LEAST_SCALE = 2.0**-20
"""Of features, where weights are scaled in their place: what fits an f32 must still fit it."""


class Classification(namedtuple("Classification", "program input best")):
    """A classifier's program, the buffer its features go to, and that of the most probable output's index: -1 where
    the features were not finite or the arithmetic overflowed. Its section "background", where there is one, is to be
    run once before "main"."""

    __slots__ = ()


class MLP(namedtuple("MLP", "input_shape n_inputs n_outputs multiplier shift layers activation output labels")):
    """What an MLP file declares, checked: `layers` is ((weight, bias), ...), `labels` a tuple of str or None."""

    __slots__ = ()

    @classmethod
    def from_apr(cls, file: ModelFile) -> MLP:
        """From an `.apr` v2 file of architecture mlp."""
        metadata = file.metadata
        sizes = _integers(file, "layer_sizes", 2, MAX_LAYERS)
        shape = _integers(file, "input_shape", 1, 4) if "input_shape" in metadata else (sizes[0],)
        if prod(shape) != sizes[0]:
            raise _wrong(file, "input_shape", list(shape), f"a shape of {sizes[0]} values, as layer_sizes begins")
        layers = tuple(_layer(file, i, sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1))
        n_channels = shape[0] if len(shape) == 3 else 1
        multiplier, shift = _normalization(file, n_channels, sizes[0])
        output = _choice(file, "output", "softmax", OUTPUTS)
        if output == "softmax" and sizes[-1] == 1:
            raise _wrong(file, "output", output, "sigmoid for one output: softmax would always answer 1")
        return cls(
            shape, sizes[0], sizes[-1], multiplier, shift, layers,
            _choice(file, "activation", "relu", tuple(name for name in ACTIVATIONS if name != "softmax")),
            output, _labels(file, max(sizes[-1], 2)),
        )  # fmt: skip

    @classmethod
    def from_logistic(cls, file: ModelFile) -> MLP:
        """From an APRN v1 file of a logistic regression: one layer, one output, inputs as they are."""
        if file.metadata.get("model_type") != "logistic_regression":
            raise UnsupportedError(f"a {file.metadata.get('model_type')} model in /predict", "logistic_regression")
        weight = file.tensors["coefficients"]
        n = weight.shape[-1]
        if n > MAX_INPUTS:
            raise UnsupportedError(f"a logistic regression of {n} features", f"at most {MAX_INPUTS}")
        weight = weight._replace(shape=(1, n))
        intercept = float(file.metadata["intercept"])  # type: ignore[arg-type]
        return cls((n,), n, 1, (1.0,), (0.0,), ((weight, intercept),), "relu", "sigmoid", _labels(file, 2))


def build(model: MLP, *, element: str, max_tokens: int) -> Classification:
    """The program of `model` for features given as "f32" or "u8".

    Most features of a picture are 0, which normalisation would make numbers like any other. So a first layer of plain
    numbers is taken apart: W ((raw * scale - mean) / std) + b is W (raw * scale / std), whose zeros cost nothing, plus
    the layer's answer to zeros, the background, which is the same for all features.
    """
    b = Builder(max_tokens=max_tokens)
    x = b.input("features", model.n_inputs, element)
    weight, bias = model.layers[0]
    n_rows, width = weight.shape
    bias = b.constant((bias,)) if isinstance(bias, float) else bias
    multiplier, shift = b.constant(model.multiplier), b.constant(model.shift)
    is_dense = weight.block.name in ops.DENSE_BLOCKS
    last = len(model.layers) - 1
    activation = model.activation if last > 0 else model.output
    is_sparse = is_dense and n_rows >= LEAST_SPARSE_ROWS
    by_columns = (
        is_sparse
        and weight.block.name == "F32"
        and n_rows * width <= MOST_COLUMN_VALUES
        and all(LEAST_SCALE <= abs(value) <= 1 / LEAST_SCALE for value in model.multiplier)
    )
    if is_sparse:
        background = b.input("background", n_rows, rows=1)
        no_shift = b.constant([0.0] * len(model.shift))
        if by_columns:  # which are scaled, not the features
            columns = b.columns(weight)
            h = x if element == "f32" else b.normalise_input(x, b.constant([1.0]), b.constant([0.0]))
            h = b.add_columns(h, columns, background, n_rows=n_rows, relu=activation == "relu")
        else:
            h = b.normalise_input(x, multiplier, no_shift, out_width=width, for_dense=True)
            h = b.matmul(h, weight, bias=background, is_sparse=True)
    else:
        h = b.normalise_input(x, multiplier, shift, out_width=width, for_dense=is_dense)
        h = b.matmul(h, weight, bias=bias)
    if not (by_columns and activation == "relu"):
        h = b.activation(activation, h)
    for number, (weight, bias) in enumerate(model.layers[1:], start=1):
        h = b.activation(model.activation if number < last else model.output, b.matmul(h, weight, bias=bias))
    best = b.argmax(h)
    if is_sparse:
        b.section("background", max_tokens=1)
        if by_columns:
            b.fill_columns(columns, model.layers[0][0], multiplier)
        zeros = b.normalise_input(b.input("zeros", model.n_inputs), multiplier, shift, out_width=width)
        b.matmul(zeros, model.layers[0][0], bias=model.layers[0][1], out=background)
    program: Program = b.finish(h)
    return Classification(program, x, best)


def _wrong(file: ModelFile, key: str, found: object, allowed: str) -> FormatError:
    return FormatError(file.path, None, f"{key} is {short_repr(found)}, must be {allowed}")


def _integers(file: ModelFile, key: str, least: int, most: int) -> tuple[int, ...]:
    value = file.metadata.get(key)
    if (
        not isinstance(value, list)
        or not least <= len(value) <= most
        or any(type(n) is not int or not 1 <= n <= MAX_INPUTS for n in value)
    ):
        raise _wrong(file, key, value, f"a list of {least} to {most} integers from 1 to {MAX_INPUTS}")
    return tuple(value)


def _choice(file: ModelFile, key: str, default: str, allowed: tuple[str, ...]) -> str:
    value = file.metadata.get(key, default)
    if value not in allowed:
        raise _wrong(file, key, value, f"one of {', '.join(allowed)}")
    return str(value)


def _labels(file: ModelFile, n_classes: int) -> tuple[str, ...] | None:
    value = file.metadata.get("labels")
    custom = file.metadata.get("custom")
    if value is None and isinstance(custom, dict):
        value = custom.get("labels")
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != n_classes or any(not isinstance(text, str) for text in value):
        raise _wrong(file, "labels", value, f"a list of {n_classes} strings")
    return tuple(value)


def _layer(file: ModelFile, number: int, n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
    weight, bias = (_tensor(file, f"layers.{number}.{part}") for part in ("weight", "bias"))
    if weight.block.name not in ops.MATMUL_BLOCKS:
        raise UnsupportedError(f"{file.path}: tensor {weight.name!r} of type {weight.block.name}", ops.MATMUL_BLOCKS)
    columns = -(-n_in // weight.block.n_elements) * weight.block.n_elements
    if number > 0 and columns != n_in:
        raise _wrong(file, f"layers.{number}.weight", weight.block.name, f"a type whose block divides {n_in} columns")
    if weight.shape != (n_out, columns):
        raise _wrong(file, f"the shape of layers.{number}.weight", weight.shape, f"{(n_out, columns)}")
    if bias.shape != (n_out,) or bias.block.name != "F32":
        raise _wrong(file, f"layers.{number}.bias", (bias.block.name, bias.shape), f"F32 of shape ({n_out},)")
    return weight, bias


def _tensor(file: ModelFile, name: str) -> Tensor:
    if name not in file.tensors:
        raise FormatError(
            file.path, None, f"no tensor {name!r}; there are {', '.join(list(file.tensors)[:12]) or 'none'}"
        )
    return file.tensors[name]


def _normalization(file: ModelFile, n_channels: int, n_inputs: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(multiplier, shift) such that normalised = raw * multiplier + shift."""
    value = file.metadata.get("normalization", {})
    if not isinstance(value, dict):
        raise _wrong(file, "normalization", value, "an object with scale, mean and std")
    scale = value.get("scale", 1.0)
    means, stds = (_floats(file, key, value.get(key, default)) for key, default in (("mean", [0.0]), ("std", [1.0])))
    n = max(len(means), len(stds))
    if any(len(values) not in (1, n) for values in (means, stds)) or n not in (1, n_channels, n_inputs):
        raise _wrong(file, "normalization", (len(means), len(stds)), f"1, {n_channels} or {n_inputs} means and stds")
    if not _is_number(scale) or any(std <= 0.0 for std in stds):
        raise _wrong(file, "normalization", value, f"a scale of at most {MAX_NUMBER:g} and positive stds")
    means, stds = (values * n if len(values) == 1 else values for values in (means, stds))
    multiplier = tuple(scale / std for std in stds)
    shift = tuple(-mean / std for mean, std in zip(means, stds, strict=True))
    if not all(map(_is_number, multiplier + shift)):
        raise _wrong(file, "normalization", value, f"scale / std and mean / std of at most {MAX_NUMBER:g}")
    return multiplier, shift


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_NUMBER  # type: ignore[arg-type]


def _floats(file: ModelFile, key: str, value: object) -> list[float]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_INPUTS or not all(map(_is_number, value)):
        raise _wrong(file, f"normalization.{key}", value, f"a list of numbers of at most {MAX_NUMBER:g}")
    return [float(v) for v in value]
