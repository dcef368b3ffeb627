"""Events as API Gateway sends them. They do not know which routes a function has."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

_ACCOUNT = "012345678912"
_HOST = "abcdefghij.execute-api.us-east-1.amazonaws.com"


def api_gateway_v2(
    method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
) -> dict[str, object]:
    """An HTTP API event, payload format 2.0, default stage. `body` is a string, or becomes JSON."""
    text = body if body is None or isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    now = time.time()
    sent_headers = {
        "accept": "*/*",
        "content-length": str(len((text or "").encode())),
        "content-type": "application/json",
        "host": _HOST,
        "user-agent": "curl/8.5.0",
        "x-amzn-trace-id": "Root=1-65f0c0de-0123456789abcdef01234567",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    event: dict[str, object] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": sent_headers | dict(headers or {}),
        "requestContext": {
            "accountId": _ACCOUNT,
            "apiId": "abcdefghij",
            "domainName": _HOST,
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if text is not None:
        event["body"] = text
    return event
