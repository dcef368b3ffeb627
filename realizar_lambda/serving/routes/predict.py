"""/predict and /predict/batch: features in, a class out. They know no event source and no file format."""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.body import read_json
from realizar_lambda.serving.fields import (
    Features,
    Flag,
    Group,
    Integer,
    Items,
    Text,
    check_batch,
    is_finite_f32,
    quoted,
    read_fields,
)
from realizar_lambda.serving.http import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from realizar_lambda.classification import Prediction
    from realizar_lambda.registry import LoadedModel
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request

OCTETS = "application/octet-stream"

OPTIONS = Group({"return_probabilities": Flag(default=False), "top_k": Integer(low=1)})
PREDICT_FIELDS = {"features": Features(is_required=True), "model_id": Text(), "options": OPTIONS}
BATCH_FIELDS = {"instances": Items(is_required=True), "model_id": Text(), "options": OPTIONS}
INSTANCE_FIELDS = {"features": Features(is_required=True)}


def predict(request: Request, application: Application) -> Response:
    """One prediction, from JSON fields or from raw u8 or f32 values."""
    started = application.clock()
    features: Sequence[float]
    if not request.has_value and request.content_type()[0] == OCTETS:
        from realizar_lambda.serving.routes.raw_features import read_query, read_raw_features

        name, options = read_query(request)
        loaded = application.load(name, "classify")
        features = read_raw_features(request, loaded, application.settings)
    else:
        fields = read_fields(read_json(request, application.settings), PREDICT_FIELDS)
        features, options = fields["features"], fields["options"]
        loaded = application.load(fields["model_id"], "classify")
        _check_length(features, "features", loaded)
    _check_top_k(options, loaded)
    inference_started = application.clock()
    prediction = loaded.model.predict(features)
    now = application.clock()
    application.metrics.observe_inference(now - inference_started)
    answer = {
        **_describe(prediction, options, loaded),
        "latency_ms": round((now - started) * 1000, 4),
        "model_version": loaded.version,
        "cold_start": request.is_cold_start,
    }
    return Response.from_json(200, answer, model=loaded.name)


def predict_batch(request: Request, application: Application) -> Response:
    """Many predictions in one call of the model; an instance that is wrong has its error in its place."""
    started = application.clock()
    fields = read_fields(read_json(request, application.settings), BATCH_FIELDS)
    instances, options = fields["instances"], fields["options"]
    check_batch(instances, "instances", application.settings.max_batch)
    loaded = application.load(fields["model_id"], "classify")
    _check_top_k(options, loaded)
    rows: dict[int, list[float]] = {}
    answers: dict[int, dict[str, Any]] = {}
    for position, instance in enumerate(instances):
        where = f"instances[{position}]"
        try:
            features = read_fields(instance, INSTANCE_FIELDS, where)["features"]
            _check_length(features, f"{where}.features", loaded)
            rows[position] = features
        except RequestError as error:
            answers[position] = _refusal(error)
    inference_started = application.clock()
    predictions = loaded.model.predict_batch(list(rows.values())) if rows else ()
    now = application.clock()
    application.metrics.observe_inference(now - inference_started)
    n_errors = len(answers)
    for position, prediction in zip(rows, predictions, strict=True):
        try:
            answers[position] = _describe(prediction, options, loaded)
        except RequestError as error:
            answers[position] = _refusal(error)
            n_errors += 1
    value = {
        "predictions": [answers[position] for position in range(len(instances))],
        "success_count": len(instances) - n_errors,
        "error_count": n_errors,
        "total_latency_ms": round((now - started) * 1000, 4),
    }
    return Response.from_json(200, value, model=loaded.name)


def _refusal(error: RequestError) -> dict[str, str]:
    from realizar_lambda.serving.failures import refusal

    return refusal(error)


def _check_length(features: Sequence[float], field: str, loaded: LoadedModel) -> None:
    n_inputs = loaded.model.n_inputs
    if len(features) != n_inputs:
        message = f"{field} must have {n_inputs} numbers for model {quoted(loaded.name)}, got {len(features)}"
        raise RequestError(400, message, field)


def _check_top_k(options: dict[str, Any], loaded: LoadedModel) -> None:
    top_k, n_outputs = options["top_k"], loaded.model.n_outputs
    if top_k is not None and top_k > n_outputs:
        message = f"options.top_k must be 1 to {n_outputs} for model {quoted(loaded.name)}, got {top_k}"
        raise RequestError(400, message, "options.top_k")


def _describe(prediction: Prediction, options: dict[str, Any], loaded: LoadedModel) -> dict[str, Any]:
    probabilities = [float(probability) for probability in prediction.probabilities]
    if not is_finite_f32(probabilities):
        message = f"model {quoted(loaded.name)} has no finite answer to these features: they overflow it"
        raise RequestError(400, message, "features")
    answer: dict[str, Any] = {"prediction": prediction.index, "label": prediction.label}
    if options["return_probabilities"]:
        answer["probabilities"] = probabilities
    if options["top_k"] is not None:
        labels = loaded.model.labels
        best = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])
        answer["top_k"] = [
            {
                "index": index,
                "label": labels[index] if labels else str(index),
                "probability": probabilities[index],
            }
            for index in best[: options["top_k"]]
        ]
    return answer
