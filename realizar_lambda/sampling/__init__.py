"""Sampling: which token comes next, given logits. It knows no model, no text and no context.

SamplingSettings    what a caller may ask for, checked
Sampler             draws tokens, one native call each
"""

from __future__ import annotations

from realizar_lambda.sampling.sampler import Sampler
from realizar_lambda.sampling.settings import SamplingSettings

__all__ = ["Sampler", "SamplingSettings"]
