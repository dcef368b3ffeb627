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
from collections import namedtuple
from math import isfinite

from realizar_lambda import native
from realizar_lambda.architectures import mlp
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.program import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from realizar_lambda.formats.model_file import ModelFile

MAX_BATCH = 32
NUMBER_FORMATS = frozenset("bhHiIlLqQnN?efd")
"""Formats of `struct` that a buffer of features may have, besides "f" and bytes."""


class Prediction(namedtuple("Prediction", "index label probabilities")):
    """The most probable class: its `index`, its `label` (the index as text where the model has no labels), and
    the `probabilities` of all classes, a tuple of floats that sums to 1 (but for a model with several sigmoids)."""

    __slots__ = ()


class Ready(namedtuple("Ready", "session features fault probabilities")):
    """A session and the views that a caller writes (`features`, bytes) and reads (f32)."""

    __slots__ = ()


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
        self._sessions: dict[str, Ready] = {}
        self._lock = allocate_lock()

    @classmethod
    def open(cls, path: str) -> Classifier:
        """Open a model file; its name is the file's without folder and suffix."""
        from realizar_lambda.formats import open_model

        stem = path.rpartition("/")[2].partition(".")[0]
        return cls(open_model(path), name=stem)

    def predict(self, features: object) -> Prediction:
        """Classify one row of features (n_inputs,). RequestError where they do not fit or are not finite."""
        element, raw = self._raw(features)
        with self._lock:
            session, into, fault, out = self._session(element)
            into[: len(raw)] = raw
            session.run(1)
            if fault[0] != 0.0:
                raise self._not_finite(into, 0)
            return self._prediction(out[: self._model.n_outputs].tolist())

    def predict_batch(self, rows: Sequence[object]) -> list[Prediction]:
        """Classify many rows; RequestError names the first bad one by its index."""
        predictions = []
        prepared = []
        for number, row in enumerate(rows):
            try:
                prepared.append(self._raw(row))
            except RequestError as error:
                raise RequestError(error.status, f"row {number}: {error.message}", error.field, error.code) from None
        n = self._model.n_outputs
        begin = 0
        while begin < len(prepared):
            element = prepared[begin][0]
            end = begin
            while end < len(prepared) and end - begin < MAX_BATCH and prepared[end][0] == element:
                end += 1
            with self._lock:
                session, into, fault, out = self._session(element)
                row_bytes = len(into) // MAX_BATCH
                for number in range(begin, end):
                    place = (number - begin) * row_bytes
                    into[place : place + row_bytes] = prepared[number][1]
                session.run(end - begin)
                for number in range(end - begin):
                    if fault[number] != 0.0:
                        found = self._not_finite(into, number)
                        raise RequestError(found.status, f"row {begin + number}: {found.message}", found.field)
                    try:
                        predictions.append(self._prediction(out[number * n : (number + 1) * n].tolist()))
                    except RequestError as error:
                        raise RequestError(
                            error.status, f"row {begin + number}: {error.message}", error.field
                        ) from None
            begin = end
        return predictions

    def _session(self, element: str) -> Ready:
        """What answers features of "f32" or "u8", made on first use."""
        found = self._sessions.get(element)
        if found is None:
            built = mlp.build(self._model, element=element, max_tokens=MAX_BATCH)
            session = Session(built.program, self._team)
            found = self._sessions[element] = Ready(
                session,
                session.view(built.input, MAX_BATCH).cast("B"),
                session.view(built.fault, MAX_BATCH),
                session.view(built.program.output, MAX_BATCH),
            )
        return found

    def _prediction(self, probabilities: list[float]) -> Prediction:
        if self._is_binary:
            probabilities = [1.0 - probabilities[0], probabilities[0]]
            index = int(probabilities[1] >= 0.5)
        else:
            index = probabilities.index(max(probabilities))
        if not isfinite(sum(probabilities)):
            message = "the model's 32-bit arithmetic overflows on these features: they are too large for it"
            raise RequestError(400, message, "features")
        return Prediction(index, self.labels[index] if self.labels else str(index), tuple(probabilities))

    def _raw(self, features: object) -> tuple[str, bytes | memoryview]:
        """("f32" or "u8", the row's bytes)."""
        n = self.n_inputs
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

    def _not_finite(self, into: memoryview, row: int) -> RequestError:
        values = into.cast("f")[row * self.n_inputs : (row + 1) * self.n_inputs]
        for i, value in enumerate(values):
            if not isfinite(value):
                return RequestError(400, f"features[{i}] must be finite in 32 bits, got {value}", f"features[{i}]")
        return RequestError(400, "features must be finite", "features")
