"""The Lambda entry point of the prediction function: `handlers.predict.handler`."""

from __future__ import annotations

from realizar_lambda.serving.lambda_handler import make_handler

handler = make_handler(warm=("POST", "/predict"))
