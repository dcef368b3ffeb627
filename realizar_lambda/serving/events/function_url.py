"""Lambda Function URLs: payload format 2.0 without stages or a gateway's timeout."""

from __future__ import annotations

from realizar_lambda.serving.events.api_gateway_v2 import APIGatewayV2


class FunctionURL(APIGatewayV2):
    """A Function URL."""

    name = "function_url"
    timeout_seconds: float | None = None
