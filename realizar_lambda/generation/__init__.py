"""Generation: from a prompt to its continuation. It knows no HTTP and no event.

    Request      a prompt and when to stop, checked; sampling.SamplingSettings says how to draw
    Stream       the pieces as they come; `Stream(model, request)`
    Generation   the whole

`LanguageModel.generate`, `.stream` and `.chat` are made of these.
"""

from __future__ import annotations

from realizar_lambda.generation.request import Request
from realizar_lambda.generation.result import Generation, Logprob, Piece, Timings, Usage
from realizar_lambda.generation.stream import Stream

__all__ = ["Generation", "Logprob", "Piece", "Request", "Stream", "Timings", "Usage"]
