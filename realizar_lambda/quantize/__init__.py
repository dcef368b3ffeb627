"""Encoding and decoding of stored blocks, and rewriting of model files in other block types; offline, with NumPy.

It knows nothing of running a model, and nothing that runs one imports it.
"""

from __future__ import annotations

from realizar_lambda.quantize.codecs import CODECS, decode, encode

__all__ = ["CODECS", "decode", "encode"]
