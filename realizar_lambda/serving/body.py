"""The body of a request: size limits, base64, UTF-8 and strict JSON. It knows no field and no route.

JSON is refused where it has NaN or Infinity, a key twice in one object, deeper nesting than allowed, or
anything after its end. The size is checked before anything is decoded.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.json_codec import Decoder
from realizar_lambda.serving.fields import type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.http import Request
    from realizar_lambda.serving.settings import Settings

_UTF8_CHARSETS = ("", "utf-8", "utf8", "us-ascii")


def read_json(request: Request, settings: Settings) -> object:
    """The JSON value of the body. RequestError 413, 415 or 422 where there is none to be had."""
    if request.has_value:
        _check_nesting(request.value, settings.max_json_depth)
        return request.value
    media, parameters = request.content_type()
    is_json = media in ("", "application/json") or media.endswith("+json")
    if not is_json or parameters.get("charset", "") not in _UTF8_CHARSETS:
        found = request.headers.get("content-type", "")[:100]
        raise RequestError(415, f"Content-Type must be application/json in UTF-8, got {found!a}")
    text = _read_text(request, settings.max_body_bytes)
    if not text or text.isspace():
        raise RequestError(422, "the body is empty; this route takes a JSON object")
    try:
        value = _decode(text)
    except RecursionError:
        raise _too_deep(settings.max_json_depth) from None
    except ValueError as error:
        raise _not_json(error) from None
    if text.count("[") + text.count("{") > settings.max_json_depth:
        _check_nesting(value, settings.max_json_depth)
    return value


def read_octets(request: Request, settings: Settings) -> bytes:
    """The body's bytes as the caller sent them. RequestError 413 or 422."""
    body = _check_size(request, settings.max_body_bytes)
    if isinstance(body, bytes):
        return body
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(422, f"the body has a lone surrogate at character {error.start}") from None


def _read_text(request: Request, max_bytes: int) -> str:
    body = _check_size(request, max_bytes)
    if isinstance(body, str):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(422, f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}") from None


def _check_size(request: Request, max_bytes: int) -> str | bytes:
    """The body without its base64, at most `max_bytes` long; None is an empty body."""
    body = request.body
    if body is None:
        return ""
    if not isinstance(body, (str, bytes)):
        raise RequestError(422, f"the event's body must be a string or null, got {type_name(body)}")
    n_bytes = len(body)
    if request.is_base64:
        n_bytes = n_bytes // 4 * 3 - 2
    elif isinstance(body, str) and not body.isascii():
        n_bytes = len(body.encode("utf-8", "surrogatepass"))
    if n_bytes > max_bytes:
        raise RequestError(413, f"the body must have at most {max_bytes} bytes, got {n_bytes}")
    return _decode_base64(body, max_bytes) if request.is_base64 else body


def _decode_base64(body: str | bytes, max_bytes: int) -> bytes:
    import binascii

    try:
        decoded = binascii.a2b_base64(body, strict_mode=True)
    except ValueError as error:  # binascii.Error is one; a non-ASCII str raises it plain
        raise RequestError(422, f"the body is marked as base64 and is not: {error}") from None
    if len(decoded) > max_bytes:
        raise RequestError(413, f"the body must have at most {max_bytes} bytes, got {len(decoded)}")
    return decoded


def _check_nesting(value: object, max_depth: int) -> None:
    """Refuse `value` where its arrays and objects are nested deeper than `max_depth`."""
    level = [value]
    depth = 0
    while level := [child for container in level for child in _containers(container)]:
        depth += 1
        if depth >= max_depth:
            raise _too_deep(max_depth)


def _containers(value: object) -> list[object]:
    """The arrays and objects directly inside `value`. Long rows of plain numbers pass at C speed."""
    members = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(members, list) or _PLAIN.issuperset(map(type, members)):
        return []
    return [member for member in members if isinstance(member, (list, dict))]


_PLAIN = frozenset((int, float, str, bool, type(None)))


def _not_json(error: ValueError) -> RequestError:
    from json import JSONDecodeError

    fault = "an integer has too many digits"
    if isinstance(error, JSONDecodeError):
        fault = f"{error.msg} at line {error.lineno}, column {error.colno}"
    return RequestError(422, f"the body is not valid JSON: {fault}")


def _too_deep(max_depth: int) -> RequestError:
    return RequestError(422, f"JSON may be nested at most {max_depth} deep, the body is nested deeper")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen = set()
        for name, _ in pairs:
            if name in seen:
                raise RequestError(422, f"the key {name[:100]!a} occurs twice in one object")
            seen.add(name)
    return members


def _refuse_constant(name: str) -> object:
    raise RequestError(422, f"JSON has no {name}: numbers must be finite")


_decode = Decoder(object_pairs_hook=_unique, parse_constant=_refuse_constant).decode
