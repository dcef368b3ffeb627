"""The table of routes: one line and one function each. A function's module is imported when first asked."""

from __future__ import annotations

from realizar_lambda.serving.router import Route

ROUTES = (
    #     method  path               action             module:function             kind of model
    Route("GET", "/health", "health", "operations:health"),
    Route("GET", "/ready", "ready", "operations:ready"),
    Route("GET", "/metrics", "metrics", "operations:metrics"),
    Route("GET", "/models", "models", "models:models"),
    Route("POST", "/predict", "predict", "predict:predict", "classify"),
    Route("POST", "/predict/batch", "predict_batch", "predict:predict_batch", "classify"),
    Route("POST", "/tokenize", "tokenize", "tokenize:tokenize", "generate"),
    Route("POST", "/batch/tokenize", "batch_tokenize", "tokenize:batch_tokenize", "generate"),
    Route("POST", "/detokenize", "detokenize", "tokenize:detokenize", "generate"),
    Route("POST", "/generate", "generate", "generate:generate", "generate"),
    Route("POST", "/batch/generate", "batch_generate", "generate:batch_generate", "generate"),
    Route("POST", "/stream/generate", "stream_generate", "generate:stream_generate", "generate"),
)
