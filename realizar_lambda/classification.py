"""A classifier: features in, the most probable class out. It knows no events and no text.

    model = Classifier.open("models/mnist_mlp.apr")
    model.predict(pixels)       -> Prediction(index=7, label="7", probabilities=(...))
    model.predict_batch(rows)   -> [Prediction, ...]

Features are on the model's raw scale (0 to 255 for pixels), in any of these forms: a list or tuple of numbers; an
`array.array`, NumPy array, ctypes array or memoryview of numbers; bytes, either one u8 per input or four bytes of f32
per input.
"""

from __future__ import annotations

import struct
from _thread import allocate_lock
from array import array
from math import isfinite

from realizar_lambda import native
from realizar_lambda.architectures import mlp
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.record import namedtuple
from realizar_lambda.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from realizar_lambda.formats.model_file import ModelFile

MAX_BATCH = 32
NUMBER_FORMATS = frozenset("bhHiIlLqQnN?efd")
"""Formats of `struct` that a buffer of features may have, besides "f" and bytes."""
_ELEMENTS = {"f": "f32", "@f": "f32", "=f": "f32", "<f": "f32", "B": "u8", "@B": "u8", "=B": "u8", "<B": "u8"}
"""What the formats of a buffer of rows mean."""


class Prediction(namedtuple("Prediction", "index label probabilities")):
    """The most probable class: its `index`, its `label` (the index as text where the model has no labels), and
    the `probabilities` of all classes, a tuple of floats that sums to 1 (but for a model with several sigmoids)."""

    __slots__ = ()


class Ready:
    """A session for features of one element, with what a prediction touches looked up once.

    `rows` are the bytes of MAX_BATCH rows of features, `row` those of the first, `numbers` the first as f32 values;
    `best` (MAX_BATCH,) i32 is the index of each row's largest output, `out` the bytes of (MAX_BATCH, n_outputs) f32,
    `first` its first row as f32 values; `probabilities` reads a row of it. `call(arguments)` runs the program on the
    first row. One that is not made yet has none of them.
    """

    __slots__ = (
        "arguments",
        "best",
        "call",
        "first",
        "numbers",
        "out",
        "probabilities",
        "row",
        "rows",
        "session",
    )

    session: Session
    rows: memoryview[Any]
    row: memoryview[Any]
    numbers: memoryview[Any]
    best: memoryview[Any]
    out: memoryview[Any]
    first: memoryview[Any]
    probabilities: struct.Struct
    call: Callable[[int], None]
    arguments: int


_READERS = {
    ("mlp", "apr-v2"): mlp.MLP.from_apr,
    ("logistic", "apr-v1"): mlp.MLP.from_logistic,
}


class Classifier:
    """A loaded classifier. Calls from several threads take turns; each leaves nothing behind for the next."""

    def __init__(self, file: ModelFile, *, name: str, library: native.Library | None = None) -> None:
        architecture = "logistic" if file.format == "apr-v1" else file.metadata.get("architecture")
        reader = _READERS.get((str(architecture), file.format))
        if reader is None:
            known = [f"{known} in {format}" for known, format in _READERS]
            raise UnsupportedError(f"a classifier of architecture {architecture!r} in {file.format}", known)
        self.model_file = file
        self.name = name
        description = file.metadata.get("description")
        self.description = description if isinstance(description, str) else ""
        self.architecture = str(architecture)
        self._model = reader(file)
        self.n_inputs = self._model.n_inputs
        self.n_outputs = max(self._model.n_outputs, 2)
        self.labels = self._model.labels
        self._is_binary = self._model.n_outputs == 1
        self._team = native.Team(1, library or native.library())
        self._names = self.labels or tuple(str(index) for index in range(self.n_outputs))
        self._ready: dict[str, Ready] = {}
        self._f32 = Ready()
        self._lock = allocate_lock()

    @classmethod
    def open(cls, path: str) -> Classifier:
        """Open a model file; its name is the file's without folder and suffix."""
        from realizar_lambda.formats import open_model

        stem = path.rpartition("/")[2].partition(".")[0]
        return cls(open_model(path), name=stem)

    def predict(self, features: object) -> Prediction:
        """Classify one row of features (n_inputs,). RequestError where they do not fit or are not finite."""
        lock = self._lock
        lock.acquire()
        try:
            ready = self._f32
            try:
                # an assignment checks what it must: a buffer of f32, of just this many values
                ready.numbers[:] = features  # type: ignore[call-overload]
            except (AttributeError, TypeError, ValueError, BufferError):
                ready = self._take(features)
            ready.call(ready.arguments)
            if self._is_binary:
                probability = ready.first[0]
                if probability != probability:
                    raise self._refusal(ready, 0)
                index = 1 if probability >= 0.5 else 0
                probabilities = (1.0 - probability, probability)
            else:
                index = ready.best[0]
                if index < 0:
                    raise self._refusal(ready, 0)
                probabilities = ready.probabilities.unpack(ready.first)
        finally:
            lock.release()
        return _new(Prediction, (index, self._names[index], probabilities))

    def _take(self, features: object) -> Ready:
        """Put features of any form in their place; the lock is held."""
        element, raw = self._raw(features)
        ready = self._ready.get(element) or self._make_ready(element)
        ready.row[:] = raw
        return ready

    def predict_batch(self, rows: Sequence[object]) -> list[Prediction]:
        """Classify many rows: a sequence of them, or one buffer of f32 or u8 that holds them one after another, such
        as a two-dimensional array or, of f32, a flat one.

        RequestError names the first bad row by its index.
        """
        predictions: list[Prediction] = []
        together = self._together(rows)
        if together is not None:
            element, raw = together
            n_bytes = self.n_inputs * (1 if element == "u8" else 4)
            for begin in range(0, len(raw), MAX_BATCH * n_bytes):
                part = raw[begin : begin + MAX_BATCH * n_bytes]
                self._predict_alike(element, part, len(part) // n_bytes, predictions)
            return predictions
        prepared = []
        for number, row in enumerate(rows):
            try:
                prepared.append(self._raw(row))
            except RequestError as error:
                raise _in_row(number, error) from None
        begin = 0
        while begin < len(prepared):
            element = prepared[begin][0]
            end = begin
            while end < len(prepared) and end - begin < MAX_BATCH and prepared[end][0] == element:
                end += 1
            self._predict_alike(element, b"".join(raw for _, raw in prepared[begin:end]), end - begin, predictions)
            begin = end
        return predictions

    def _together(self, rows: object) -> tuple[str, memoryview] | None:
        """("f32" or "u8", the bytes of all rows) where they are one buffer, else None."""
        try:
            view = memoryview(rows)  # type: ignore[arg-type]
        except (TypeError, ValueError, BufferError):
            return None
        element = _ELEMENTS.get(view.format)
        if element is None or not view.c_contiguous or (view.ndim == 1 and element == "u8"):
            return None
        n_rows, rest = divmod(view.nbytes, self.n_inputs * view.itemsize)
        if rest or n_rows == 0 or view.shape is None or (view.ndim != 1 and view.shape[0] != n_rows):
            return None
        return element, view.cast("B")

    def _predict_alike(self, element: str, raw: bytes | memoryview, n_rows: int, predictions: list[Prediction]) -> None:
        """Classify at most MAX_BATCH rows of one element; their predictions follow those made before."""
        with self._lock:
            ready = self._ready.get(element) or self._make_ready(element)
            ready.rows[: len(raw)] = raw
            ready.session.run(n_rows)
            indices = ready.best[:n_rows].tolist()
            if -1 in indices:
                bad = indices.index(-1)
                raise _in_row(len(predictions) + bad, self._refusal(ready, bad))
            answers = list(ready.probabilities.iter_unpack(ready.out[: n_rows * ready.probabilities.size]))
        names = self._names
        if self._is_binary:
            predictions += [
                _new(Prediction, (index := 1 if p >= 0.5 else 0, names[index], (1.0 - p, p))) for (p,) in answers
            ]
            return
        predictions += [
            _new(Prediction, (index, names[index], answer)) for index, answer in zip(indices, answers, strict=True)
        ]

    def _make_ready(self, element: str) -> Ready:
        """What answers features of "f32" or "u8", made on first use; the lock is held."""
        built = mlp.build(self._model, element=element, max_tokens=MAX_BATCH)
        session = Session(built.program, self._team)
        if "background" in built.program.sections:
            session.run(1, first="background")
        rows = session.view(built.input, MAX_BATCH).cast("B")
        row = rows[: len(rows) // MAX_BATCH]
        made = Ready()
        made.session, made.rows, made.row = session, rows, row
        made.numbers = row.cast("f") if element == "f32" else row
        out = session.view(built.program.output, MAX_BATCH)
        made.out, made.first = out.cast("B"), out[: self._model.n_outputs]
        made.probabilities = struct.Struct(f"{self._model.n_outputs}f")
        made.best = session.view(built.best, MAX_BATCH)
        made.call, made.arguments = session.prepared_call(1, holds_gil=True)
        self._ready[element] = made
        if element == "f32":
            self._f32 = made
        return made

    def _raw(self, features: object) -> tuple[str, bytes | memoryview]:
        """("f32" or "u8", the row's bytes)."""
        n = self.n_inputs
        if type(features) is bytes and len(features) in (n, 4 * n):
            return "u8" if len(features) == n else "f32", features
        if isinstance(features, (list, tuple)):
            if len(features) != n:
                raise self._wrong_length(len(features))
            try:
                return "f32", memoryview(array("f", features)).cast("B")
            except (TypeError, ValueError, OverflowError):
                raise self._not_numbers(features) from None
        try:
            view = memoryview(features)  # type: ignore[arg-type]
        except (TypeError, ValueError, BufferError):
            kind = type(features).__name__
            raise RequestError(422, f"features must be numbers or bytes, got {kind}", "features") from None
        if view.format == "f" and view.nbytes == 4 * n and view.ndim == 1 and view.contiguous:
            return "f32", view.cast("B")
        kind = view.format.lstrip("@=<")
        if kind in ("B", "c"):
            if view.nbytes not in (n, 4 * n):
                raise RequestError(
                    400,
                    f"features must have {n} bytes of u8 or {4 * n} of f32, got {view.nbytes}",
                    "features",
                )
            return "u8" if view.nbytes == n else "f32", view.tobytes()
        if kind not in NUMBER_FORMATS or struct.calcsize(kind) != view.itemsize:
            raise RequestError(422, f"features must be numbers, got a buffer of format {view.format!r}", "features")
        if view.nbytes != n * view.itemsize:
            raise self._wrong_length(view.nbytes // view.itemsize)
        if kind == "f":
            return "f32", view.tobytes()
        return "f32", memoryview(array("f", struct.unpack(f"{n}{kind}", view.tobytes()))).cast("B")

    def _wrong_length(self, found: int) -> RequestError:
        return RequestError(400, f"features must have {self.n_inputs} values, got {found}", "features")

    def _not_numbers(self, features: Iterable[object]) -> RequestError:
        for i, value in enumerate(features):
            if not isinstance(value, (int, float)):
                return RequestError(
                    422, f"features[{i}] must be a number, got {type(value).__name__}", f"features[{i}]"
                )
        return RequestError(400, "features must be numbers that fit a 32-bit float", "features")

    def _refusal(self, ready: Ready, row: int) -> RequestError:
        """Why a row has no answer: a feature that is not finite, or arithmetic that overflows."""
        if ready is self._f32:
            values = ready.rows.cast("f")[row * self.n_inputs : (row + 1) * self.n_inputs]
            for i, value in enumerate(values):
                if not isfinite(value):
                    return RequestError(400, f"features[{i}] must be finite in 32 bits, got {value}", f"features[{i}]")
        message = "the model's 32-bit arithmetic overflows on these features: they are too large for it"
        return RequestError(400, message, "features")


_new = tuple.__new__
"""Makes a Prediction at half the cost of its class: a third of a small model's whole prediction otherwise."""


def _in_row(number: int, error: RequestError) -> RequestError:
    return RequestError(error.status, f"row {number}: {error.message}", error.field, error.code)
