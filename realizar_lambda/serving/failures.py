"""From an error to the response of the contract. It raises nothing and logs nothing.

A caller sees the sentence of an error that this package raised on purpose, and of no other.
"""

from __future__ import annotations

from realizar_lambda.errors import (
    BuildError,
    CapacityError,
    FormatError,
    ModelNotFoundError,
    RealizarError,
    RequestError,
    UnsupportedError,
)
from realizar_lambda.serving.http import Response

STATUS_AND_CODE: tuple[tuple[type[RealizarError], int, str], ...] = (
    (ModelNotFoundError, 404, "E_MODEL_NOT_FOUND"),
    (FormatError, 500, "E_MODEL_FORMAT"),
    (UnsupportedError, 500, "E_MODEL_UNSUPPORTED"),
    (CapacityError, 503, "E_CAPACITY"),
    (BuildError, 500, "E_KERNELS"),
)


def failure_response(error: Exception, request_id: str, *, headers: dict[str, str] | None = None) -> Response:
    """`{"error", "code"}` with the error's status; from 500 on also the request id."""
    status, code, message = classify(error)
    value = {"error": message, "code": code}
    if status >= 500:
        value["request_id"] = request_id
    return Response.from_json(status, value, headers=headers, code=code)


def refusal(error: RealizarError) -> dict[str, str]:
    """The error of one item of a batch, as it stands in the item's place."""
    _, code, message = classify(error)
    return {"error": message, "code": code}


def classify(error: Exception) -> tuple[int, str, str]:
    """Status, code and sentence of an error; one that is not ours says nothing of itself."""
    if isinstance(error, RequestError):
        return error.status, error.code, error.message
    for kind, status, code in STATUS_AND_CODE:
        if isinstance(error, kind):
            return status, code, str(error)
    return 500, "E_INTERNAL", "internal error; the log has it under the request id"
