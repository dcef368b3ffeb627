"""Features as raw bytes (`application/octet-stream`): u8 or little-endian f32, told apart by their length.

    n_inputs bytes        u8, one value each
    4 x n_inputs bytes    f32

`application/octet-stream; dtype=u8` (or `f32`) states which; the length must then be that one. What JSON has
as fields comes in the query string: `model_id`, `return_probabilities`, `top_k`.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.body import read_octets
from realizar_lambda.serving.fields import is_finite_f32, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from realizar_lambda.registry import LoadedModel
    from realizar_lambda.serving.http import Request
    from realizar_lambda.serving.settings import Settings

DTYPE_BYTES = {"u8": 1, "f32": 4}


def read_query(request: Request) -> tuple[str | None, dict[str, Any]]:
    """The model's name, None for the default, and the options."""
    return_probabilities = request.query.get("return_probabilities", "false")
    if return_probabilities not in ("true", "false"):
        message = f"return_probabilities must be true or false, got {quoted(return_probabilities)}"
        raise RequestError(422, message, "return_probabilities")
    top_k = request.query.get("top_k")
    if top_k is not None and not (top_k.isascii() and top_k.isdigit() and len(top_k) < 10 and int(top_k)):
        raise RequestError(422, f"top_k must be a whole number of at least 1, got {quoted(top_k)}", "top_k")
    options = {"return_probabilities": return_probabilities == "true", "top_k": int(top_k) if top_k else None}
    return request.query.get("model_id"), options


def read_raw_features(request: Request, loaded: LoadedModel, settings: Settings) -> Sequence[float]:
    """The features, checked for their number and, as f32, for being finite."""
    octets = read_octets(request, settings)
    dtype = request.content_type()[1].get("dtype")
    if dtype is not None and dtype not in DTYPE_BYTES:
        raise RequestError(415, f"dtype of application/octet-stream must be u8 or f32, got {quoted(dtype)}")
    n_inputs = loaded.model.n_inputs
    n_bytes = {name: n_inputs * size for name, size in DTYPE_BYTES.items() if dtype in (None, name)}
    if len(octets) == n_bytes.get("u8"):
        return octets
    if len(octets) != n_bytes.get("f32"):
        allowed = " or ".join(f"{size} bytes ({name})" for name, size in n_bytes.items())
        message = f"raw features for model {quoted(loaded.name)} must be {allowed}, got {len(octets)} bytes"
        raise RequestError(400, message, "features")
    numbers = memoryview(octets).cast("f")
    if not is_finite_f32(numbers):
        position = next(i for i, number in enumerate(numbers) if number - number != 0)
        message = f"features[{position}] must be finite, got {numbers[position]}"
        raise RequestError(400, message, "features")
    return numbers
