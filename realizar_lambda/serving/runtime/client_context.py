"""What mobile SDKs and other callers send along: client context and Cognito identity, from JSON in headers."""

from __future__ import annotations

from realizar_lambda.json_codec import Decoder
from realizar_lambda.serving.runtime.context import ContextError, Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

TRACE_FIELDS = ("traceparent", "tracestate", "baggage")


class Client:
    """The application that called."""

    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")


class ClientContext:
    """`custom` and `env` are objects as they came, `client` a Client; each None where it is absent."""

    __slots__ = ("client", "custom", "env")

    client: Client | None
    custom: object
    env: object


def read_client_context(headers: Mapping[str, str]) -> tuple[ClientContext | None, dict[str, str]]:
    """The client context, and the W3C trace context that came with it. Raises ContextError."""
    fields = _object(headers, "lambda-runtime-client-context", "Client Context")
    if fields is None:
        return None, {}
    carried = fields.get("w3c")
    traces = carried if isinstance(carried, dict) else {}
    made = ClientContext()
    made.custom, made.env, made.client = fields.get("custom"), fields.get("env"), None
    client = fields.get("client")
    if isinstance(client, dict):
        made.client = Client()
        for name in Client.__slots__:
            setattr(made.client, name, client.get(name))
    return made, {name: traces[name] for name in TRACE_FIELDS if isinstance(traces.get(name), str)}


def read_identity(headers: Mapping[str, str]) -> Identity:
    """The Cognito identity. Raises ContextError."""
    fields = _object(headers, "lambda-runtime-cognito-identity", "Cognito Identity") or {}
    return Identity(fields.get("cognitoIdentityId"), fields.get("cognitoIdentityPoolId"))


def _object(headers: Mapping[str, str], header: str, name: str) -> dict[str, object] | None:
    text = headers.get(header)
    if not text:
        return None
    try:
        found = Decoder().decode(text)
    except (ValueError, RecursionError) as error:
        raise ContextError(f"Unable to parse {name} JSON: {error}") from None
    if not isinstance(found, dict):
        raise ContextError(f"Unable to parse {name} JSON: it must be an object")
    return found
