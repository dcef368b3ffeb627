"""Writes the sample events of this folder: every route through every event source. It knows no handler.

    python events/make_events.py

The events have the shapes of the sources' documentation, with made-up accounts and hosts. The features are an
iris flower and a real handwritten digit, the text is the beginning of a story. Tests import the functions for events
of their own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DIGITS = FOLDER.parent / "demo" / "mnist_digits.json"

Event = dict[str, object]
Strings = Mapping[str, str]

ACCOUNT = "123456789012"
GATEWAY_HOST = "abcdefghij.execute-api.eu-west-1.amazonaws.com"
URL_HOST = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-west-1.on.aws"
AGENT = "curl/8.5.0"
CALLER = "203.0.113.7"
JSON: Strings = {"content-type": "application/json"}
OCTETS: Strings = {"content-type": "application/octet-stream"}


def api_gateway_v2(
    method: str,
    path: str,
    body: str | None = None,
    *,
    headers: Strings = JSON,
    query: Strings | None = None,
    is_base64: bool = False,
    stage: str = "$default",
    host: str = GATEWAY_HOST,
) -> Event:
    """An HTTP API event, payload format 2.0: `rawPath` has the stage where it is a named one."""
    event: Event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path if stage == "$default" else f"/{stage}{path}",
        "rawQueryString": "&".join(f"{name}={value}" for name, value in (query or {}).items()),
        "headers": {"accept": "*/*", "host": host, "user-agent": AGENT, **headers},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": host.partition(".")[0],
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": CALLER,
                "userAgent": AGENT,
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": stage,
            "time": "10/Mar/2024:05:16:23 +0000",
            "timeEpoch": 1583817383220,
        },
        "isBase64Encoded": is_base64,
    }
    if query:
        event["queryStringParameters"] = dict(query)
    if body is not None:
        event["body"] = body
    return event


def function_url(
    method: str,
    path: str,
    body: str | None = None,
    *,
    headers: Strings = JSON,
    query: Strings | None = None,
    is_base64: bool = False,
) -> Event:
    """A Function URL's event: payload format 2.0 under the URL's own host."""
    return api_gateway_v2(method, path, body, headers=headers, query=query, is_base64=is_base64, host=URL_HOST)


def api_gateway_v1(
    method: str,
    path: str,
    body: str | None = None,
    *,
    headers: Strings = JSON,
    query: Strings | None = None,
    is_base64: bool = False,
) -> Event:
    """A REST API event, payload format 1.0: each header and query value single and as a list."""
    sent = {"Accept": "*/*", "Host": GATEWAY_HOST, "User-Agent": AGENT}
    sent |= {name.title(): value for name, value in headers.items()}
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": dict(query) if query else None,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "abcdefghij",
            "domainName": GATEWAY_HOST,
            "httpMethod": method,
            "identity": {"sourceIp": CALLER, "userAgent": AGENT},
            "path": f"/prod{path}",
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "resourcePath": "/{proxy+}",
            "stage": "prod",
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def alb(
    method: str,
    path: str,
    body: str | None = None,
    *,
    headers: Strings = JSON,
    query: Strings | None = None,
    is_base64: bool = False,
) -> Event:
    """An Application Load Balancer's event with one value per header; query values are percent-encoded."""
    return {
        "requestContext": {"elb": {"targetGroupArn": _TARGET_GROUP}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": dict(query or {}),
        "headers": {"accept": "*/*", "user-agent": AGENT, "x-forwarded-for": CALLER, **headers},
        "body": body or "",
        "isBase64Encoded": is_base64,
    }


def alb_multi_value(
    method: str,
    path: str,
    body: str | None = None,
    *,
    headers: Strings = JSON,
    query: Strings | None = None,
    is_base64: bool = False,
) -> Event:
    """The same from a target group with multi-value headers on."""
    event = alb(method, path, body, is_base64=is_base64)
    del event["headers"], event["queryStringParameters"]
    event["multiValueQueryStringParameters"] = {name: [value] for name, value in (query or {}).items()}
    event["multiValueHeaders"] = {name: [value] for name, value in {"accept": "*/*", **headers}.items()}
    return event


def sqs(*bodies: str) -> Event:
    """A batch of queue messages with the ids message-0, message-1, ..."""
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1523232000000"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:eu-west-1:{ACCOUNT}:predictions",
                "awsRegion": "eu-west-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


HTTP_SOURCES: dict[str, Callable[..., Event]] = {
    "api-gateway-v2": api_gateway_v2,
    "api-gateway-v1": api_gateway_v1,
    "function-url": function_url,
    "alb": alb,
    "alb-multi-value": alb_multi_value,
}

_TARGET_GROUP = f"arn:aws:elasticloadbalancing:eu-west-1:{ACCOUNT}:targetgroup/predict/0123456789abcdef"

SETOSA = {"features": [5.1, 3.5, 1.4, 0.2]}
VIRGINICA = {"features": [6.3, 3.3, 6.0, 2.5]}
ONCE = "Once upon a time"

# name: method, path, action, fields (None where the route takes none)
ROUTES: dict[str, tuple[str, str, str, Mapping[str, object] | None]] = {
    "health": ("GET", "/health", "health", None),
    "ready": ("GET", "/ready", "ready", None),
    "models": ("GET", "/models", "models", None),
    "metrics": ("GET", "/metrics", "metrics", None),
    "predict": (
        "POST",
        "/predict",
        "predict",
        {**SETOSA, "model_id": "iris", "options": {"return_probabilities": True, "top_k": 2}},
    ),
    "predict-batch": (
        "POST",
        "/predict/batch",
        "predict_batch",
        {"instances": [SETOSA, VIRGINICA], "model_id": "iris"},
    ),
    "tokenize": ("POST", "/tokenize", "tokenize", {"text": ONCE, "with_pieces": True}),
    "batch-tokenize": ("POST", "/batch/tokenize", "batch_tokenize", {"texts": [ONCE, "The end."]}),
    "detokenize": ("POST", "/detokenize", "detokenize", {"token_ids": [300, 301, 302]}),
    "generate": (
        "POST",
        "/generate",
        "generate",
        {"prompt": ONCE, "max_tokens": 40, "strategy": "top_p", "temperature": 0.8, "top_p": 0.95, "seed": 7},
    ),
    "batch-generate": ("POST", "/batch/generate", "batch_generate", {"prompts": [ONCE, "One day"], "max_tokens": 8}),
    "stream-generate": ("POST", "/stream/generate", "stream_generate", {"prompt": ONCE, "max_tokens": 8}),
}
"""The text routes name no model, so that the default one answers."""


def make_events(digit: str) -> dict[str, Event]:
    """Every event of this folder by its file's stem. `digit` is an image's 784 pixels in base64."""
    events: dict[str, Event] = {}
    for source, make in HTTP_SOURCES.items():
        for name, (method, path, _, fields) in ROUTES.items():
            body = None if fields is None else json.dumps(fields)
            events[f"{name}-{source}"] = make(method, path, body, headers=JSON if fields else {})
        pixels = {"headers": OCTETS, "query": {"model_id": "mnist_mlp", "top_k": "3"}, "is_base64": True}
        events[f"predict-pixels-{source}"] = make("POST", "/predict", digit, **pixels)
    for name, (_, _, action, fields) in ROUTES.items():
        events[f"{name}-direct"] = {"action": action, **(fields or {})}
    bare = {**SETOSA, "model_id": "iris"}
    events["predict-bare-direct"] = bare
    batch = {"action": "predict_batch", "instances": [SETOSA, VIRGINICA], "model_id": "iris"}
    events["predict-sqs"] = sqs(json.dumps(bare), json.dumps(batch))
    return events


def read_digit(path: Path = DIGITS) -> str:
    """The pixels of the demo's first digit, in base64."""
    pixels: str = json.loads(path.read_text())["digits"][0]["pixels"]
    return pixels


def as_text(event: Event) -> str:
    return json.dumps(event, indent=2) + "\n"


def main() -> int:
    for stem, event in make_events(read_digit()).items():
        (FOLDER / f"{stem}.json").write_text(as_text(event))
    return 0


if __name__ == "__main__":
    sys.exit(main())
