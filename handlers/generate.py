"""The Lambda entry point of the text function: `handlers.generate.handler`. It answers every other route, too."""

from __future__ import annotations

from realizar_lambda.serving.lambda_handler import make_handler

handler = make_handler(warm=("POST", "/generate"))
