"""What the HTTP event sources have in common: a request in, `{"statusCode", "headers", "body"}` out.

It knows no source's field names. Every field is read leniently where it only routes (a path that is no
string matches no route) and left for the body reader where it carries the request.
"""

from __future__ import annotations

from realizar_lambda.serving.http import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Response
    from realizar_lambda.serving.invocation import Invocation

GATEWAY_TIMEOUT_SECONDS = 28.0  # API Gateway gives up on a buffered answer after 29 s


class Proxy:
    """Base of the HTTP sources: a subclass says how its request is read and how its answer is written."""

    name = ""
    timeout_seconds: float | None = None

    def answer(self, event: dict[str, Any], invocation: Invocation, application: Application) -> object:
        """The proxy response, a StreamedAnswer where the source and the runtime pass one on. Raises nothing."""
        request = self.to_request(event)
        request.source = self.name
        request.request_id = invocation.request_id or request_id_of(event)
        request.can_stream = invocation.can_stream and self.name in application.settings.streamed_sources
        request.deadline = invocation.deadline_within(None if request.can_stream else self.timeout_seconds)
        request.body = event.get("body")
        if application.settings.share_prefixes == "caller":
            from realizar_lambda.serving.events.caller import caller_of

            request.caller = caller_of(event)
        request.is_base64 = event.get("isBase64Encoded") is True
        response = application.respond(request)
        if request.can_stream:
            from realizar_lambda.serving.streamed_answer import StreamedAnswer

            return StreamedAnswer(response)
        return self.from_response(response)

    def to_request(self, event: dict[str, Any]) -> Request:
        """Method, path, query and headers of the event."""
        raise NotImplementedError

    def from_response(self, response: Response) -> dict[str, Any]:
        """The answer as API Gateway takes it."""
        answer = {"statusCode": response.status, "headers": response.headers}
        if isinstance(response.body, str):
            return {**answer, "body": response.body, "isBase64Encoded": False}
        import binascii

        body = binascii.b2a_base64(response.body, newline=False).decode("ascii")
        return {**answer, "body": body, "isBase64Encoded": True}


def without_stage(path: str, context: dict[str, Any]) -> str:
    """`path` without the stage that HTTP APIs put in front of it where it is not `$default`."""
    stage = text_of(context.get("stage"))
    if stage and stage != "$default" and (path + "/").startswith(f"/{stage}/"):
        return path[len(stage) + 1 :] or "/"
    return path


def text_of(value: object) -> str:
    """`value` where it is a string, else ""."""
    return value if isinstance(value, str) else ""


def members_of(value: object) -> dict[str, Any]:
    """`value` where it is an object, else {}."""
    return value if isinstance(value, dict) else {}


def texts_of(value: object) -> dict[str, str]:
    """The members of `value` that are strings, by name."""
    return {name: text for name, text in members_of(value).items() if isinstance(text, str)}


def last_texts_of(value: object) -> dict[str, str]:
    """The last string of each member of `value` that is a list: how multi-value fields become single."""
    lists = members_of(value).items()
    return {
        name: texts[-1] for name, texts in lists if isinstance(texts, list) and texts and isinstance(texts[-1], str)
    }


def lower_names(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def request_id_of(event: dict[str, Any]) -> str:
    """The gateway's request id where it can stand in a header, else ""."""
    found = text_of(members_of(event.get("requestContext")).get("requestId"))
    return found if len(found) <= 128 and found.isascii() and found.isprintable() else ""
