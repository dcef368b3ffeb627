"""API Gateway REST APIs, and HTTP APIs with payload format 1.0. Only the latter carry the stage in `path`."""

from __future__ import annotations

from realizar_lambda.serving.events.proxy import (
    GATEWAY_TIMEOUT_SECONDS,
    Proxy,
    last_texts_of,
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


class APIGatewayV1(Proxy):
    """A REST API with a Lambda proxy integration."""

    name = "api_gateway_v1"
    timeout_seconds: float | None = GATEWAY_TIMEOUT_SECONDS

    def to_request(self, event: dict[str, Any]) -> Request:
        query = {**last_texts_of(event.get("multiValueQueryStringParameters"))}
        query.update(texts_of(event.get("queryStringParameters")))
        headers = {**last_texts_of(event.get("multiValueHeaders")), **texts_of(event.get("headers"))}
        path = text_of(event.get("path"))
        if event.get("version") == "1.0":  # a REST API's event has no version
            path = without_stage(path, members_of(event.get("requestContext")))
        return Request(
            text_of(event.get("httpMethod")),
            path,
            query=query,
            headers=lower_names(headers),
        )
