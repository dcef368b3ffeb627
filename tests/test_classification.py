from __future__ import annotations

import array
import ctypes
import math
import threading
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tiny_classifiers
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda import native
from realizar_lambda.classification import MAX_BATCH, Classifier, Prediction
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.formats import apr_v1, apr_v2, open_model
from realizar_lambda.program import ACTIVATIONS

SIZES = (4, 5, 3)
SCALE = 0.01
FEATURES = [3.0, 0.0, 250.0, 17.0]
NAN, INF = math.nan, math.inf


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    path = tmp_path_factory.mktemp("models") / "tiny.apr"
    changes = {"labels": tiny_classifiers.LABELS, "description": "small", "normalization": {"scale": SCALE}}
    return Classifier.open(tiny_classifiers.write_mlp(path, SIZES, **changes))


def answer(features: list[float]) -> object:
    """The model's probabilities by float64 arithmetic, to be compared with f32's."""
    scaled = [value * SCALE for value in features]
    return pytest.approx(tiny_classifiers.mlp_answer(SIZES, scaled), rel=1e-5, abs=1e-7)


def check(model: Classifier, prediction: Prediction, features: list[float] = FEATURES) -> None:
    """Equal to the arithmetic in float64, and a probability distribution with the label of its largest."""
    assert prediction.probabilities == answer(features)
    assert sum(prediction.probabilities) == pytest.approx(1.0, abs=1e-6)
    assert prediction.index == prediction.probabilities.index(max(prediction.probabilities))
    assert prediction.label == (model.labels or "012")[prediction.index]


def strided(values: list[float], dtype: str) -> np.ndarray:
    """An array whose elements lie apart."""
    spread = np.zeros((len(values), 3), dtype)
    spread[:, 1] = values
    return spread[:, 1]


F32 = array.array("f", FEATURES)
FORMS = {
    "list": FEATURES,
    "list of ints": [3, 0, 250, 17],
    "tuple": tuple(FEATURES),
    "list of other numbers": [3, False, Decimal(250), Fraction(17)],
    "list of numpy scalars": list(np.array(FEATURES, np.float32)),
    **{f"array of {kind}": array.array(kind, [3, 0, 250, 17]) for kind in "fdBhHiIlLqQ"},
    "u8 bytes": bytes([3, 0, 250, 17]),
    "u8 bytearray": bytearray([3, 0, 250, 17]),
    "u8 memoryview": memoryview(bytes([3, 0, 250, 17])),
    "char memoryview": memoryview(bytes([3, 0, 250, 17])).cast("c"),
    "f32 bytes": F32.tobytes(),
    "f32 bytes, unaligned": memoryview(b"x" + F32.tobytes())[1:],
    "f32 bytes, read-only": memoryview(F32.tobytes()),
    "f32 memoryview": memoryview(F32),
    "strided memoryview": memoryview(array.array("f", [v for x in FEATURES for v in (x, -1.0)]))[::2],
    "strided u8 memoryview": memoryview(bytes([3, 9, 0, 9, 250, 9, 17, 9]))[::2],
    **{f"numpy {kind}": np.array(FEATURES, kind) for kind in ("f4", "f8", "f2", "u1", "i2", "i4", "i8", "u8", "=f4")},
    **{f"numpy {kind}, strided": strided(FEATURES, kind) for kind in ("f4", "f8", "u1", "i8")},
    **{f"numpy {kind}, backwards": np.array(FEATURES[::-1], kind)[::-1] for kind in ("f4", "u1")},
    **{f"numpy {kind}, 2 x 2": np.array(FEATURES, kind).reshape(2, 2) for kind in ("f4", "f8", "u1", "i8")},
    **{f"numpy {kind}, by columns": np.array(FEATURES, kind).reshape(2, 2).copy("F") for kind in ("f4", "u1")},
    **{f"numpy {kind}, 1 x 4 x 1": np.array(FEATURES, kind).reshape(1, 4, 1) for kind in ("f4", "f8", "u1")},
    "numpy read-only": np.frombuffer(F32.tobytes(), "f4"),
    "ctypes floats": (ctypes.c_float * 4)(*FEATURES),
    "ctypes doubles": (ctypes.c_double * 4)(*FEATURES),
    "ctypes bytes": (ctypes.c_ubyte * 4)(3, 0, 250, 17),
    "ctypes longs": (ctypes.c_long * 4)(3, 0, 250, 17),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_features_are_taken_in_every_form(model: Classifier, form: str) -> None:
    check(model, model.predict(FORMS[form]))
    check(model, model.predict_batch([FORMS[form], FEATURES])[0])


@pytest.mark.parametrize("form", ["numpy bool", "array of b"])
def test_small_numbers_are_taken_in_small_forms(model: Classifier, form: str) -> None:
    values = {"numpy bool": np.array([1, 0, 1, 0], bool), "array of b": array.array("b", [1, 0, -100, 7])}[form]
    check(model, model.predict(values), [float(value) for value in values])


SHORT = "features must have 4 values, got 3"
LENGTHS = [
    ([1.0, 2.0, 3.0], SHORT),
    ((), "features must have 4 values, got 0"),
    ([0.0] * 5, "features must have 4 values, got 5"),
    (array.array("d", [1, 2, 3]), SHORT),
    (array.array("f"), "features must have 4 values, got 0"),
    (np.zeros(3, "f4"), SHORT),
    (np.zeros((4, 4), "f8"), "features must have 4 values, got 16"),
    (np.float64(1.0), "features must have 4 values, got 1"),
    (b"", "features must have 4 bytes of u8 or 16 of f32, got 0"),
    (b"abc", "features must have 4 bytes of u8 or 16 of f32, got 3"),
    (b"x" * 17, "features must have 4 bytes of u8 or 16 of f32, got 17"),
    (np.zeros((2, 3), "u1"), "features must have 4 bytes of u8 or 16 of f32, got 6"),
]


@pytest.mark.parametrize(("features", "message"), LENGTHS, ids=[str(i) for i in range(len(LENGTHS))])
def test_a_wrong_number_of_features_is_refused_with_both_numbers(
    model: Classifier, features: object, message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        model.predict(features)
    assert (caught.value.status, caught.value.message, caught.value.field) == (400, message, "features")


class Strange:
    """A number that will not be one."""

    def __float__(self) -> float:
        raise ValueError("not today")


def released() -> memoryview:
    view = memoryview(b"1234")
    view.release()
    return view


KINDS = [
    # features, words of the message, field
    (None, "features must be numbers or bytes, got NoneType", "features"),
    (7, "features must be numbers or bytes, got int", "features"),
    ("1,2,3,4", "features must be numbers or bytes, got str", "features"),
    ({"a": 1}, "features must be numbers or bytes, got dict", "features"),
    ({1.0, 2.0, 3.0, 4.0}, "features must be numbers or bytes, got set", "features"),
    (iter(FEATURES), "features must be numbers or bytes, got list_iterator", "features"),
    (released(), "features must be numbers or bytes, got memoryview", "features"),
    (np.array(["2020-01-01"] * 4, "M8[D]"), "features must be numbers or bytes, got ndarray", "features"),
    ([1.0, 2.0, "3", 4.0], "features[2] must be a number, got str", "features[2]"),
    (["1", "2", "3", "4"], "features[0] must be a number, got str", "features[0]"),
    ([1.0, 2.0, 3.0, None], "features[3] must be a number, got NoneType", "features[3]"),
    ([1.0, [2.0], 3.0, 4.0], "features[1] must be a number, got list", "features[1]"),
    ([[1.0], [2.0], [3.0], [4.0]], "features[0] must be a number, got list", "features[0]"),
    ([1.0, 2j, 3.0, 4.0], "features[1] must be a number, got complex", "features[1]"),
    ([1.0, b"2", 3.0, 4.0], "features[1] must be a number, got bytes", "features[1]"),
    ([1.0, {}, 3.0, 4.0], "features[1] must be a number, got dict", "features[1]"),
    ([1.0, 2.0, Strange(), 4.0], "features[2] must be a number, got Strange", "features[2]"),
    (np.array([1, 2, 3, 4], object), "features must be numbers, got a buffer of format 'O'", "features"),
    (np.array([1, 2, 3, 4], "c8"), "features must be numbers, got a buffer of format 'Zf'", "features"),
    (np.array([1, 2, 3, 4], ">f4"), "features must be numbers, got a buffer of format '>f'", "features"),
    (np.array([1, 2, 3, 4], "g"), "features must be numbers, got a buffer of format 'g'", "features"),
    (np.array(["a"] * 4, "U1"), "features must be numbers, got a buffer of format '1w'", "features"),
    (np.array([(1, 2)] * 4, "i4,f4"), "features must be numbers, got a buffer of format 'T{", "features"),
    (array.array("u", "abcd"), "features must be numbers, got a buffer of format 'w'", "features"),
    ((ctypes.c_void_p * 4)(), "features must be numbers, got a buffer of format", "features"),
]


@pytest.mark.parametrize(("features", "message", "field"), KINDS, ids=[str(i) for i in range(len(KINDS))])
def test_what_is_no_number_is_refused_with_its_place(
    model: Classifier, features: object, message: str, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        model.predict(features)
    assert caught.value.status == 422
    assert caught.value.message.startswith(message)
    assert caught.value.field == field
    check(model, model.predict(FEATURES))


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda x: array.array("d", x), lambda x: np.array(x, "f4"),
                                  lambda x: np.array(x, "f4").tobytes()])  # fmt: skip
@pytest.mark.parametrize(("value", "text"), [(NAN, "nan"), (INF, "inf"), (-INF, "-inf"), (1e300, "inf")])
@pytest.mark.parametrize("place", [0, 3])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_a_feature_that_is_not_finite_in_32_bits_is_refused_with_its_place(
    model: Classifier, kind: type, value: float, text: str, place: int
) -> None:
    features = list(FEATURES)
    features[place] = value
    with pytest.raises(RequestError) as caught:
        model.predict(kind(features))
    assert caught.value.status == 400
    assert caught.value.message == f"features[{place}] must be finite in 32 bits, got {text}"
    assert caught.value.field == f"features[{place}]"
    check(model, model.predict(FEATURES))


def test_an_integer_that_no_float_holds_is_refused(model: Classifier) -> None:
    with pytest.raises(RequestError, match="32-bit float") as caught:
        model.predict([0, 0, 0, 10**400])
    assert caught.value.status == 400


def test_features_that_overflow_the_models_arithmetic_are_refused_not_answered(tmp_path: Path) -> None:
    """A sum of infinities is no probability: an answer with NaN in it is never given."""
    model = Classifier.open(tiny_classifiers.write_logistic(tmp_path / "l.apr", [1e30, -1e30, 1.0], 0.0))
    with pytest.raises(RequestError, match="overflows on these features") as caught:
        model.predict([3e38, 3e38, 0.0])
    assert (caught.value.status, caught.value.field) == (400, "features")
    with pytest.raises(RequestError, match="row 1: the model's 32-bit arithmetic overflows"):
        model.predict_batch([[0.0] * 3, [3e38] * 3])
    assert model.predict([0.0] * 3).probabilities == (0.5, 0.5)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 31, 32, 33, 100])
def test_a_batch_answers_each_row_as_if_it_were_alone(model: Classifier, n_rows: int) -> None:
    numbers = np.random.default_rng(n_rows)
    rows = numbers.integers(0, 256, (n_rows, 4))
    forms = [list, tuple, bytes, lambda row: np.array(row, "f4"), lambda row: np.array(row, "f8")]
    found = model.predict_batch([forms[i // 3 % len(forms)](row.tolist()) for i, row in enumerate(rows)])
    assert len(found) == n_rows
    for row, prediction in zip(rows.tolist(), found, strict=True):
        check(model, prediction, row)
        assert prediction.probabilities == pytest.approx(model.predict(row).probabilities, rel=1e-6)


TOGETHER = {
    **{f"numpy {kind}": np.arange(400, dtype=kind).reshape(100, 4) % 251 for kind in ("f4", "f8", "u1", "i4")},
    "numpy f4, pictures": (np.arange(400, dtype="f4") % 251).reshape(100, 2, 2),
    "numpy u1, pictures": (np.arange(400) % 251).astype("u1").reshape(100, 2, 2),
    "numpy f4, by columns": np.asfortranarray((np.arange(400, dtype="f4") % 251).reshape(100, 4)),
    "numpy f4, backwards": (np.arange(400, dtype="f4") % 251).reshape(100, 4)[::-1],
    "numpy f4, one after another": np.arange(400, dtype="f4") % 251,
    "array of f": array.array("f", [i % 251 for i in range(400)]),
    "memoryview of f": memoryview(array.array("f", [i % 251 for i in range(400)])),
    "numpy f4, no rows": np.zeros((0, 4), "f4"),
    "array of f, empty": array.array("f"),
}


@pytest.mark.parametrize("form", TOGETHER)
def test_a_batch_may_be_one_array(model: Classifier, form: str) -> None:
    rows = np.asarray(TOGETHER[form]).reshape(-1, 4).tolist()
    for prediction, row in zip(model.predict_batch(TOGETHER[form]), rows, strict=True):
        check(model, prediction, row)


@pytest.mark.parametrize(("rows", "message"), [
    (np.zeros((3, 5), "f4"), "row 0: features must have 4 values, got 5"),
    (np.zeros((4, 3), "f4"), "row 0: features must have 4 values, got 3"),
    (np.zeros((4, 3), "u1"), "row 0: features must have 4 bytes of u8 or 16 of f32, got 3"),
    (array.array("f", [0.0] * 9), "row 0: features must be numbers or bytes, got float"),
    (bytes(8), "row 0: features must be numbers or bytes, got int"),
    (np.full((40, 4), [1.0, INF, 0.0, 0.0], "f4"), "row 0: features[1] must be finite in 32 bits, got inf"),
    (np.where(np.arange(160).reshape(40, 4) == 143, NAN, 0.0).astype("f4"),
     "row 35: features[3] must be finite in 32 bits, got nan"),
])  # fmt: skip
def test_an_array_that_is_no_batch_is_refused(model: Classifier, rows: object, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        model.predict_batch(rows)  # type: ignore[arg-type]
    assert caught.value.message == message


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != "softmax"])
def test_no_activation_hides_that_a_feature_was_not_finite(tmp_path: Path, activation: str, output: str) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "m.apr", SIZES, activation=activation, output=output)
    model = Classifier.open(path)
    assert model.predict(FEATURES).index in range(3)
    for value in (NAN, INF, -INF):
        for place in range(4):
            row = [*FEATURES[:place], value, *FEATURES[place + 1 :]]
            with pytest.raises(RequestError, match=rf"features\[{place}\] must be finite in 32 bits, got {value}"):
                model.predict(row)
            with pytest.raises(RequestError, match=rf"row 9: features\[{place}\] must be finite in 32 bits"):
                model.predict_batch([FEATURES] * 9 + [row])


@pytest.mark.parametrize(("bad", "message", "status"), [
    ([1.0, 2.0, 3.0, NAN], "row {row}: features[3] must be finite in 32 bits, got nan", 400),
    ([1.0, 2.0, 3.0], "row {row}: features must have 4 values, got 3", 400),
    ([1.0, 2.0, 3.0, "4"], "row {row}: features[3] must be a number, got str", 422),
    (None, "row {row}: features must be numbers or bytes, got NoneType", 422),
])  # fmt: skip
@pytest.mark.parametrize("row", [0, 1, MAX_BATCH - 1, MAX_BATCH, 2 * MAX_BATCH + 5])
def test_a_batch_names_its_first_bad_row(model: Classifier, bad: object, message: str, status: int, row: int) -> None:
    rows: list[object] = [FEATURES] * 80
    rows[row] = bad
    with pytest.raises(RequestError) as caught:
        model.predict_batch(rows)
    assert (caught.value.message, caught.value.status) == (message.format(row=row), status)
    check(model, model.predict(FEATURES))


def test_equal_probabilities_give_the_first_class(tmp_path: Path) -> None:
    zeros = array.array("f", [0.0] * 12)
    apr_v2.write(
        tmp_path / "m.apr",
        {"layers.0.weight": ((3, 4), "F32", zeros), "layers.0.bias": ((3,), "F32", zeros[:3])},
        tiny_classifiers.metadata((4, 3)),
    )
    assert Classifier.open(str(tmp_path / "m.apr")).predict(FEATURES).index == 0


@pytest.mark.parametrize("labels", [None, ["no", "yes"]])
def test_one_sigmoid_answers_for_two_classes(tmp_path: Path, labels: list[str] | None) -> None:
    custom = {"labels": labels} if labels else {}
    model = Classifier.open(tiny_classifiers.write_logistic(tmp_path / "l.apr", [1.0, -2.0], 0.5, **custom))
    assert (model.n_inputs, model.n_outputs, model.labels) == (2, 2, tuple(labels) if labels else None)
    for features, z in (([0.0, 0.0], 0.5), ([1.0, 3.0], -4.5), ([0.5, 0.5], 0.0), ([1e30, 0.0], INF)):
        p = 1.0 / (1.0 + math.exp(-z))
        found = model.predict(features)
        assert found.probabilities == pytest.approx((1.0 - p, p), rel=1e-6, abs=1e-7)
        assert found.index == int(p >= 0.5)
        assert found.label == (labels or ["0", "1"])[found.index]


def test_a_model_tells_what_it_takes_and_gives(model: Classifier, tmp_path: Path) -> None:
    assert (model.name, model.n_inputs, model.n_outputs) == ("tiny", 4, 3)
    assert model.labels == tuple(tiny_classifiers.LABELS)
    assert model.description == "small"
    assert model.architecture == "mlp"
    assert model.model_file.format == "apr-v2"
    plain = Classifier.open(tiny_classifiers.write_mlp(tmp_path / "a.b.apr"))
    assert (plain.labels, plain.description) == (None, "")


def test_a_description_that_is_no_text_is_none(tmp_path: Path) -> None:
    """The writer refuses one, a file may still have it."""
    data = Path(tiny_classifiers.write_mlp(tmp_path / "m.apr", description="XXXX")).read_bytes()
    changed = data.replace(b'"XXXX"', b"[[[]]]")
    (tmp_path / "n.apr").write_bytes(changed[:-4])
    assert Classifier(open_model(str(tmp_path / "n.apr")), name="n").description == ""


def test_a_file_that_is_no_classifier_is_refused(tmp_path: Path) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "m.apr", architecture="resnet")
    with pytest.raises(UnsupportedError, match=r"architecture 'resnet' in apr-v2.*mlp in apr-v2, logistic in apr-v1"):
        Classifier.open(path)
    apr_v1.write_linear(tmp_path / "linear.apr", [1.0], 0.0, {})
    with pytest.raises(UnsupportedError, match="linear_regression"):
        Classifier.open(str(tmp_path / "linear.apr"))


@pytest.mark.parametrize("n_threads", [8])
def test_callers_in_many_threads_get_their_own_answers(model: Classifier, n_threads: int) -> None:
    wrong: list[object] = []

    def call(number: int) -> None:
        numbers = np.random.default_rng(number)
        for i in range(40):
            row = numbers.integers(0, 256, 4).tolist()
            given = (row, bytes(row), np.array(row, "f4"))[i % 3]
            found = model.predict(given) if i % 2 else model.predict_batch([given] * 5)[4]
            if found.probabilities != answer(row):
                wrong.append((row, found))
            if i % 10 == 0:
                try:
                    model.predict([NAN] * 4)
                    wrong.append("NaN was answered")
                except RequestError:
                    pass

    threads = [threading.Thread(target=call, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_model_may_use_a_library_of_the_callers_choice(tmp_path: Path) -> None:
    normalization = {"scale": SCALE}
    file = open_model(tiny_classifiers.write_mlp(tmp_path / "m.apr", SIZES, normalization=normalization))
    machine, flags = "x86_64", native.cpu_flags()
    for name, needed in native.ISAS.get(machine, ()):
        path = Path(native.library().path).with_name(f"{name}.so")
        if flags.issuperset(needed.split()) and path.exists():
            check_model = Classifier(file, name="m", library=native.Library(name, str(path)))
            check(check_model, check_model.predict(FEATURES))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1000, 1000, width=32), min_size=4, max_size=4))
def test_any_finite_features_get_a_distribution(model: Classifier, features: list[float]) -> None:
    check_sum = sum(model.predict(features).probabilities)
    assert check_sum == pytest.approx(1.0, abs=1e-6)
    assert model.predict(features) == model.predict(array.array("f", features)) == model.predict(tuple(features))
