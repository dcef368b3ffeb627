"""The table of routes: one line and one function each. A function's module is imported when first asked."""

from __future__ import annotations

from realizar_lambda.serving.router import Route

ROUTES = (
    #     method  path              action           module:function
    Route("GET", "/health", "health", "operations:health"),
    Route("GET", "/ready", "ready", "operations:ready"),
    Route("GET", "/metrics", "metrics", "operations:metrics"),
    Route("GET", "/models", "models", "models:models"),
    Route("POST", "/predict", "predict", "predict:predict"),
    Route("POST", "/predict/batch", "predict_batch", "predict:predict_batch"),
)
