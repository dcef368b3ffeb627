"""Events of every HTTP source for one request, made by hand from the documented shapes."""

from __future__ import annotations

import base64
import json


def api_gateway_v2(method, path, body=None, *, headers=None, stage="$default", query=None, **more):
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path if stage == "$default" else f"/{stage}{path}",
        "rawQueryString": "",
        "headers": headers or {"content-type": "application/json"},
        "queryStringParameters": query or {},
        "requestContext": {
            "stage": stage,
            "requestId": "gateway-id",
            "domainName": "abc.execute-api.eu-west-1.amazonaws.com",
            "http": {"method": method, "path": path},
        },
        "body": body,
        "isBase64Encoded": False,
        **more,
    }


def function_url(method, path, body=None, *, headers=None, query=None, **more):
    event = api_gateway_v2(method, path, body, headers=headers, query=query, **more)
    event["requestContext"]["domainName"] = "abc.lambda-url.eu-west-1.on.aws"
    return event


def api_gateway_v1(method, path, body=None, *, headers=None, query=None, **more):
    headers = headers or {"Content-Type": "application/json"}
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in (query or {}).items()} or None,
        "requestContext": {"stage": "prod", "path": f"/prod{path}", "requestId": "gateway-id"},
        "body": body,
        "isBase64Encoded": False,
        **more,
    }


def alb(method, path, body=None, *, headers=None, query=None, **more):
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/a/b"}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": query or {},
        "headers": headers or {"content-type": "application/json"},
        "body": body or "",
        "isBase64Encoded": False,
        **more,
    }


def alb_multi_value(method, path, body=None, *, headers=None, query=None, **more):
    event = alb(method, path, body, **more)
    del event["headers"], event["queryStringParameters"]
    event["multiValueHeaders"] = {n: [v] for n, v in (headers or {"content-type": "application/json"}).items()}
    event["multiValueQueryStringParameters"] = {name: [value] for name, value in (query or {}).items()}
    return event


HTTP_SOURCES = (api_gateway_v2, function_url, api_gateway_v1, alb, alb_multi_value)


def post(path, value, **options):
    """An HTTP API event that posts `value` as JSON."""
    return api_gateway_v2("POST", path, json.dumps(value), **options)


def base64_text(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
