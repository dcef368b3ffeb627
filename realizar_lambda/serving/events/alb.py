"""Application Load Balancers, single and multi-value headers. Query values arrive percent-encoded."""

from __future__ import annotations

from realizar_lambda.serving.events.proxy import Proxy, last_texts_of, lower_names, text_of, texts_of
from realizar_lambda.serving.http import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from realizar_lambda.serving.http import Response


class ALB(Proxy):
    """A target group as it is by default: one value per header."""

    name = "alb"

    def to_request(self, event: dict[str, Any]) -> Request:
        return _make_request(event, texts_of(event.get("headers")), texts_of(event.get("queryStringParameters")))

    def from_response(self, response: Response) -> dict[str, Any]:
        return {**super().from_response(response), "statusDescription": response.status_line}


class ALBMultiValue(ALB):
    """A target group with multi-value headers on: it takes its answer's headers as lists, too."""

    name = "alb_multi_value"

    def to_request(self, event: dict[str, Any]) -> Request:
        query = last_texts_of(event.get("multiValueQueryStringParameters"))
        return _make_request(event, last_texts_of(event.get("multiValueHeaders")), query)

    def from_response(self, response: Response) -> dict[str, Any]:
        answer = super().from_response(response)
        headers = answer.pop("headers")
        return {**answer, "multiValueHeaders": {name: [value] for name, value in headers.items()}}


def _make_request(event: dict[str, Any], headers: dict[str, str], query: dict[str, str]) -> Request:
    if any("%" in value or "+" in value for value in query.values()):
        from urllib.parse import unquote_plus

        query = {name: unquote_plus(value) for name, value in query.items()}
    return Request(
        text_of(event.get("httpMethod")),
        text_of(event.get("path")),
        query=query,
        headers=lower_names(headers),
    )
