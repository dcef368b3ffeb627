"""API Gateway HTTP APIs: payload format 2.0. `rawPath` carries the stage where it is not `$default`."""

from __future__ import annotations

from realizar_lambda.serving.events.proxy import (
    GATEWAY_TIMEOUT_SECONDS,
    Proxy,
    lower_names,
    members_of,
    text_of,
    texts_of,
    without_stage,
)
from realizar_lambda.serving.http import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class APIGatewayV2(Proxy):
    """An HTTP API."""

    name = "api_gateway_v2"
    timeout_seconds: float | None = GATEWAY_TIMEOUT_SECONDS

    def to_request(self, event: dict[str, Any]) -> Request:
        context = members_of(event.get("requestContext"))
        return Request(
            text_of(members_of(context.get("http")).get("method")),
            without_stage(text_of(event.get("rawPath")), context),
            query=texts_of(event.get("queryStringParameters")),
            headers=lower_names(texts_of(event.get("headers"))),
        )
