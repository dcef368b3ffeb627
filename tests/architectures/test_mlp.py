from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tiny_classifiers
from oracles import mlp as oracle

from realizar_lambda.architectures import mlp
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.classification import Classifier
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import apr_v2, open_model
from realizar_lambda.formats.model_file import ModelFile
from realizar_lambda.tensor import Tensor

SIZES = (12, 5, 3)
DEEP = json.loads("[" * 900 + "]" * 900)


def model_file(
    metadata: Mapping[str, object],
    tensors: Mapping[str, tuple[tuple[int, ...], str, bytes]] | None = None,
    *,
    format: str = "apr-v2",
) -> ModelFile:
    """An opened file with any metadata at all: readers pass on what their JSON says."""
    stored = {
        name: Tensor(name, tuple(shape), BLOCKS[block], memoryview(content).cast("B"), 0)
        for name, (shape, block, content) in (tiny_classifiers.layers(SIZES) if tensors is None else tensors).items()
    }
    return ModelFile(path="m.apr", format=format, metadata=metadata, tensors=stored, checks={}, buffer=b"")


def read(**changes: object) -> mlp.MLP:
    return mlp.MLP.from_apr(model_file(tiny_classifiers.metadata(SIZES, **changes)))


def read_null(key: str) -> mlp.MLP:
    return mlp.MLP.from_apr(model_file(tiny_classifiers.metadata(SIZES) | {key: None}))


def test_what_a_file_leaves_out_has_its_default() -> None:
    model = read()
    assert (model.input_shape, model.n_inputs, model.n_outputs) == ((12,), 12, 3)
    assert (model.multiplier, model.shift) == ((1.0,), (0.0,))
    assert (model.activation, model.output, model.labels) == ("relu", "softmax", None)


@pytest.mark.parametrize(("shape", "rule", "multiplier", "shift"), [
    ([12], {"scale": 0.5}, (0.5,), (0.0,)),
    ([3, 4], {"mean": [2.0], "std": [4.0]}, (0.25,), (-0.5,)),
    ([3, 2, 2], {"scale": 2, "mean": [1, 2, 3], "std": [2]}, (1.0, 1.0, 1.0), (-0.5, -1.0, -1.5)),
    ([3, 2, 2], {"mean": [1], "std": [1, 2, 4]}, (1.0, 0.5, 0.25), (-1.0, -0.5, -0.25)),
    ([12], {"mean": list(range(12)), "std": [2]}, (0.5,) * 12, tuple(-i / 2 for i in range(12))),
    ([12], {}, (1.0,), (0.0,)),
])  # fmt: skip
def test_a_normalisation_becomes_a_multiplier_and_a_shift_per_channel(
    shape: list[int], rule: dict[str, object], multiplier: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    model = read(input_shape=shape, normalization=rule)
    assert (model.multiplier, model.shift) == (multiplier, shift)


WRONG = [
    # key, value, words of the error
    ("layer_sizes", [12], r"layer_sizes is \[12\], must be a list of 2 to 256 integers"),
    ("layer_sizes", [], "must be a list of 2 to 256 integers"),
    ("layer_sizes", [12] * 257, "must be a list of 2 to 256 integers"),
    ("layer_sizes", "12,3", "layer_sizes is '12,3', must be a list"),
    ("layer_sizes", {"0": 12}, "must be a list"),
    ("layer_sizes", 12, "must be a list"),
    ("layer_sizes", [12, 5.0, 3], r"integers from 1 to 1048576"),
    ("layer_sizes", [12, True, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, "5", 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, None, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, 0, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, -5, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, 1 << 21, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [12, 10**400, 3], "integers from 1 to 1048576"),
    ("layer_sizes", [[12, 5, 3]], "must be a list"),
    ("layer_sizes", DEEP, "must be a list"),
    ("layer_sizes", [13, 5, 3], r"the shape of layers.0.weight is \(5, 12\), must be \(5, 13\)"),
    ("layer_sizes", [12, 6, 3], r"the shape of layers.0.weight is \(5, 12\), must be \(6, 12\)"),
    ("layer_sizes", [12, 5, 4], r"the shape of layers.1.weight is \(3, 5\), must be \(4, 5\)"),
    ("layer_sizes", [12, 5, 3, 2], "no tensor 'layers.2.weight'; there are layers.0.weight"),
    ("input_shape", [], "input_shape is .*, must be a list of 1 to 4 integers"),
    ("input_shape", [1, 1, 1, 1, 12], "must be a list of 1 to 4 integers"),
    ("input_shape", "12", "must be a list"),
    ("input_shape", [3.0, 4.0], "integers"),
    ("input_shape", [3, 5], r"input_shape is \[3, 5\], must be a shape of 12 values"),
    ("input_shape", [1 << 20, 1 << 20, 1 << 20, 1 << 20], "must be a shape of 12 values"),
    ("activation", "swish", "activation is 'swish', must be one of relu, sigmoid, tanh, gelu"),
    ("activation", "softmax", "activation is 'softmax'"),
    ("activation", "RELU", "activation is 'RELU'"),
    ("activation", ["relu"], "activation is"),
    ("activation", {}, "activation is"),
    ("activation", 1, "activation is 1"),
    ("activation", DEEP, "activation is"),
    ("output", "relu", "output is 'relu', must be one of softmax, sigmoid"),
    ("output", [], "output is"),
    ("output", False, "output is False"),
    ("labels", ["a", "b"], r"labels is \['a', 'b'\], must be a list of 3 strings"),
    ("labels", ["a", "b", 3], "must be a list of 3 strings"),
    ("labels", ["a", "b", None], "must be a list of 3 strings"),
    ("labels", "abc", "must be a list of 3 strings"),
    ("labels", {"0": "a", "1": "b", "2": "c"}, "must be a list of 3 strings"),
    ("labels", DEEP, "must be a list of 3 strings"),
    ("custom", {"labels": ["a"]}, "labels is .*, must be a list of 3 strings"),
    ("normalization", [], "normalization is .*, must be an object"),
    ("normalization", "none", "must be an object"),
    ("normalization", DEEP, "must be an object"),
    ("normalization", {"scale": "1"}, "normalization is .*, must be a scale of at most 1e"),
    ("normalization", {"scale": None}, "must be a scale"),
    ("normalization", {"scale": True}, "must be a scale"),
    ("normalization", {"scale": [1]}, "must be a scale"),
    ("normalization", {"scale": float("inf")}, "must be a scale"),
    ("normalization", {"scale": 1e39}, "must be a scale"),
    ("normalization", {"scale": 10**400}, "must be a scale"),
    ("normalization", {"mean": 0.5}, "normalization.mean is 0.5, must be a list of numbers"),
    ("normalization", {"mean": []}, "normalization.mean is"),
    ("normalization", {"mean": ["0"]}, "normalization.mean is"),
    ("normalization", {"mean": [None]}, "normalization.mean is"),
    ("normalization", {"mean": [False]}, "normalization.mean is"),
    ("normalization", {"mean": [float("inf")]}, "normalization.mean is"),
    ("normalization", {"mean": [-(10**400)]}, "normalization.mean is"),
    ("normalization", {"mean": {"0": 1}}, "normalization.mean is"),
    ("normalization", {"mean": DEEP}, "normalization.mean is"),
    ("normalization", {"mean": [1, 2]}, r"normalization is \(2, 1\), must be 1, 1 or 12 means and stds"),
    ("normalization", {"std": [1, 2, 3]}, r"normalization is \(1, 3\), must be 1, 1 or 12 means and stds"),
    ("normalization", {"mean": [0] * 12, "std": [1] * 11}, r"normalization is \(12, 11\)"),
    ("normalization", {"mean": None}, "normalization.mean is None"),
    ("normalization", {"std": [0]}, "positive stds"),
    ("normalization", {"std": [-1.0]}, "positive stds"),
    ("normalization", {"std": [0.0] * 12}, "positive stds"),
    ("normalization", {"std": [1e-300]}, "scale / std and mean / std of at most 1e"),
    ("normalization", {"std": [5e-324]}, "scale / std and mean / std"),
    ("normalization", {"scale": 1e30, "std": [0.5]}, "scale / std and mean / std"),
    ("normalization", {"mean": [1e30], "std": [1e-9]}, "scale / std and mean / std"),
]


@pytest.mark.parametrize(("key", "value", "words"), WRONG, ids=[f"{row[0]}-{i}" for i, row in enumerate(WRONG)])
def test_a_wrong_value_is_refused_by_the_name_of_its_key(key: str, value: object, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        read(**{key: value})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("key", ["layer_sizes", "input_shape", "activation", "output", "normalization"])
def test_null_is_no_value(key: str) -> None:
    with pytest.raises(FormatError, match=f"{key} is None"):
        read_null(key)


def test_layer_sizes_are_required() -> None:
    with pytest.raises(FormatError, match="layer_sizes is None"):
        read(layer_sizes=None)


def test_one_softmax_output_is_refused_since_it_could_only_answer_one_way() -> None:
    tensors = tiny_classifiers.layers((12, 1))
    file = model_file(tiny_classifiers.metadata((12, 1)), tensors)
    with pytest.raises(FormatError, match="output is 'softmax', must be sigmoid for one output"):
        mlp.MLP.from_apr(file)
    assert mlp.MLP.from_apr(model_file(tiny_classifiers.metadata((12, 1), output="sigmoid"), tensors)).n_outputs == 1


def f32(n: int) -> bytes:
    return array("f", [0.0] * n).tobytes()


TENSORS = [
    # tensor changed, what it becomes (None: it is not there), error, words
    ("layers.0.weight", None, FormatError, "no tensor 'layers.0.weight'"),
    ("layers.1.bias", None, FormatError, "no tensor 'layers.1.bias'"),
    ("layers.0.weight", ((12, 5), "F32", f32(60)), FormatError, r"the shape of layers.0.weight is \(12, 5\)"),
    ("layers.0.weight", ((60,), "F32", f32(60)), FormatError, r"the shape of layers.0.weight is \(60,\)"),
    ("layers.0.weight", ((5, 12, 1), "F32", f32(60)), FormatError, "the shape of layers.0.weight"),
    ("layers.0.weight", ((5, 13), "F32", f32(65)), FormatError, "the shape of layers.0.weight"),
    ("layers.0.weight", ((5, 12), "I32", f32(60)), UnsupportedError, "'layers.0.weight' of type I32"),
    ("layers.0.weight", ((5, 12), "I8", bytes(60)), UnsupportedError, "'layers.0.weight' of type I8"),
    ("layers.0.weight", ((5, 12), "F64", bytes(480)), UnsupportedError, "'layers.0.weight' of type F64"),
    ("layers.0.weight", ((5, 32), "AprQ4", bytes(90)), UnsupportedError, "'layers.0.weight' of type AprQ4"),
    ("layers.0.weight", ((5, 64), "Q8_0", bytes(340)), FormatError, r"is \(5, 64\), must be \(5, 32\)"),
    ("layers.1.weight", ((3, 32), "Q8_0", bytes(102)), FormatError, "a type whose block divides 5 columns"),
    ("layers.0.bias", ((4,), "F32", f32(4)), FormatError, r"layers.0.bias is \('F32', \(4,\)\), must be F32"),
    ("layers.0.bias", ((5, 1), "F32", f32(5)), FormatError, "layers.0.bias is"),
    ("layers.0.bias", ((5,), "F16", bytes(10)), FormatError, r"layers.0.bias is \('F16', \(5,\)\)"),
    ("layers.0.bias", ((), "F32", f32(1)), FormatError, "layers.0.bias is"),
]


@pytest.mark.parametrize(("name", "stored", "error", "words"), TENSORS, ids=range(len(TENSORS)))
def test_a_tensor_that_does_not_fit_is_refused_when_the_model_is_loaded(
    name: str, stored: tuple[tuple[int, ...], str, bytes] | None, error: type[Exception], words: str
) -> None:
    tensors = {**tiny_classifiers.layers(SIZES), name: stored}
    if stored is None:
        del tensors[name]
    with pytest.raises(error, match=words):
        mlp.MLP.from_apr(model_file(tiny_classifiers.metadata(SIZES), tensors))


def test_a_model_without_tensors_says_so() -> None:
    with pytest.raises(FormatError, match=r"no tensor 'layers.0.weight'; there are none"):
        mlp.MLP.from_apr(model_file(tiny_classifiers.metadata(SIZES), {}))


def test_a_logistic_regression_of_too_many_features_is_refused() -> None:
    n = mlp.MAX_INPUTS + 1
    coefficients = {"coefficients": ((1, n), "F32", bytes(4 * n))}
    metadata = {"model_type": "logistic_regression", "intercept": 0.0}
    with pytest.raises(UnsupportedError, match=f"a logistic regression of {n} features"):
        mlp.MLP.from_logistic(model_file(metadata, coefficients, format="apr-v1"))


def test_a_linear_regression_is_no_classifier() -> None:
    with pytest.raises(UnsupportedError, match="a linear_regression model"):
        mlp.MLP.from_logistic(model_file({"model_type": "linear_regression"}, {}, format="apr-v1"))


@pytest.mark.parametrize(("activation", "sizes"), [
    ("relu", (12, 5, 3)), ("sigmoid", (12, 9, 4, 2)), ("tanh", (12, 1, 2)), ("relu", (12, 2)),
    ("tanh", (12, 33, 17, 3)),
])  # fmt: skip
@pytest.mark.parametrize("element", ["u8", "f32"])
def test_a_model_equals_the_oracle_that_reads_the_same_file(
    tmp_path: Path, activation: str, sizes: tuple[int, ...], element: str
) -> None:
    rule = {"scale": 1 / 255, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.4, 0.3]}
    path = tmp_path / "m.apr"
    changes = {"activation": activation, "output": "softmax", "input_shape": [3, 2, 2], "normalization": rule}
    tiny_classifiers.write_mlp(path, sizes, **changes)
    rows = np.random.default_rng(0).integers(0, 256, (40, 12)).astype("u1" if element == "u8" else "f4")
    expected = oracle.probabilities(path, rows)
    found = Classifier.open(str(path)).predict_batch(rows)
    np.testing.assert_allclose([p.probabilities for p in found], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(("sizes", "scale", "block", "by"), [
    ((12, 33, 3), 1 / 255, "F32", "add_columns"),
    ((12, 33, 3), 1 / 255, "F16", "sparse_matmul_F16"),
    ((12, 33, 3), 1e-9, "F32", "sparse_matmul_F32"),
    ((512, 513, 3), 1 / 255, "F32", "sparse_matmul_F32"),
    ((12, 15, 3), 1 / 255, "F32", "matmul_F32"),
])  # fmt: skip
@pytest.mark.parametrize("element", ["u8", "f32"])
def test_a_first_layer_that_leaves_zeros_out_answers_as_any_other(
    tmp_path: Path, sizes: tuple[int, ...], scale: float, block: str, by: str, element: str
) -> None:
    """By columns where its weights are few and its features are scaled within reason, else by rows."""
    tensors = tiny_classifiers.layers(sizes)
    if block == "F16":
        shape, _, values = tensors["layers.0.weight"]
        tensors["layers.0.weight"] = shape, "F16", np.array(values, "<f2").tobytes()
    path = tmp_path / "m.apr"
    rule = {"scale": scale, "mean": [0.1], "std": [0.5]}
    changes = {"activation": "relu", "output": "softmax", "normalization": rule}
    apr_v2.write(path, tensors, tiny_classifiers.metadata(sizes, **changes))
    random = np.random.default_rng(1)
    rows = random.integers(0, 256, (40, sizes[0]))
    rows[random.random(rows.shape) < 0.7] = 0
    rows = (rows.astype("u1") if element == "u8" else rows / (255 * scale)).astype("u1" if element == "u8" else "f4")
    built = mlp.build(mlp.MLP.from_apr(open_model(str(path))), element=element, max_tokens=40)
    assert by in {step.op for step in built.program.steps}
    classifier = Classifier.open(str(path))
    expected = oracle.probabilities(path, rows)
    for found in (classifier.predict_batch(rows), [classifier.predict(row) for row in rows]):
        np.testing.assert_allclose([p.probabilities for p in found], expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("n_in", [32, 40, 12])
def test_a_first_layer_of_whole_blocks_may_be_padded_beyond_the_inputs(tmp_path: Path, n_in: int) -> None:
    """Codes are 1 to 3 with a scale of 1/8, so the stored weight is exact; what is padded must meet zeros."""
    columns = -(-n_in // 32) * 32
    block = np.zeros(2 * columns // 32, np.dtype([("d", "<f2"), ("codes", "i1", 32)]))
    block["d"] = 0.125
    block["codes"] = np.arange(len(block) * 32).reshape(-1, 32) % 3 + 1
    tensors = {
        "layers.0.weight": ((2, columns), "Q8_0", block.tobytes()),
        "layers.0.bias": ((2,), "F32", array("f", [0.5, -0.5])),
    }
    path = tmp_path / "m.apr"
    apr_v2.write(path, tensors, tiny_classifiers.metadata((n_in, 2), normalization={"scale": 1 / 64}))
    rows = np.random.default_rng(n_in).integers(0, 256, (9, n_in)).astype("u1")
    weight = (0.125 * block["codes"].astype("f8")).reshape(2, columns)[:, :n_in]
    logits = rows / 64.0 @ weight.T + [0.5, -0.5]
    expected = 1.0 / (1.0 + np.exp(logits[:, 1] - logits[:, 0]))
    found = [p.probabilities[0] for p in Classifier.open(str(path)).predict_batch(rows)]
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert open_model(str(path)).tensors["layers.0.weight"].shape == (2, columns)
