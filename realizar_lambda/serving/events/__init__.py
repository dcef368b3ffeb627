"""The table of event sources: how each is recognised and where its class is. First match wins.

A class has `answer(event, invocation, application)`, which gives what the source expects back. Its module is
imported when its first event arrives.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.invocation import Invocation

    class EventSource(Protocol):
        """One source of events."""

        def answer(self, event: Any, invocation: Invocation, application: Application) -> object:
            """What the source expects back."""


def _context(event: dict[str, Any]) -> dict[str, Any]:
    found = event.get("requestContext")
    return found if isinstance(found, dict) else {}


def _is_function_url(event: dict[str, Any]) -> bool:
    return _is_v2(event) and ".lambda-url." in str(_context(event).get("domainName"))


def _is_v2(event: dict[str, Any]) -> bool:
    return event.get("version") == "2.0" and "http" in _context(event)


def _is_alb(event: dict[str, Any]) -> bool:
    return "httpMethod" in event and "elb" in _context(event)


def _is_alb_multi_value(event: dict[str, Any]) -> bool:
    return _is_alb(event) and "multiValueHeaders" in event


def _is_v1(event: dict[str, Any]) -> bool:
    return "httpMethod" in event and "path" in event


def _has_records_of(service: str) -> Callable[[dict[str, Any]], bool]:
    def is_source(event: dict[str, Any]) -> bool:
        records = event.get("Records")
        first = records[0] if isinstance(records, list) and records else None
        return isinstance(first, dict) and first.get("eventSource") == service

    return is_source


SOURCES: tuple[tuple[Callable[[dict[str, Any]], bool], str], ...] = (
    (_is_function_url, "function_url:FunctionURL"),
    (_is_v2, "api_gateway_v2:APIGatewayV2"),
    (_is_alb_multi_value, "alb:ALBMultiValue"),
    (_is_alb, "alb:ALB"),
    (_is_v1, "api_gateway_v1:APIGatewayV1"),
    (_has_records_of("aws:sqs"), "sqs:SQS"),
    (_has_records_of("aws:s3"), "s3:S3"),
    (lambda event: True, "direct:Direct"),
)

_loaded: dict[str, EventSource] = {}


def find_source(event: object) -> EventSource:
    """The source of `event`; what no other source recognises is a direct invocation."""
    fields = event if isinstance(event, dict) else {}
    target = next(target for is_source, target in SOURCES if is_source(fields))
    if target not in _loaded:
        module, _, name = target.partition(":")
        imported = __import__(f"{__name__}.{module}", fromlist=(name,))
        _loaded[target] = getattr(imported, name)()
    return _loaded[target]
