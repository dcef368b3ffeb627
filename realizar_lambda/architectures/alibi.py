"""BLOOM and MPT: GPT-2's layers with ALiBi, a penalty on distance in each head's scores, in place of positions.

BLOOM (2022) normalises the embedding; MPT (MosaicML, 2023) has no biases and uses GELU by the error function.
"""

from __future__ import annotations

from realizar_lambda.architectures import gpt2
from realizar_lambda.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def bloom(m: Decoder) -> Buffer:
    x = m.layer_norm(m.embed(), "token_embd_norm", in_place=True)
    return gpt2.layers(m, x, activation="gelu", slopes=m.alibi_slopes())


def mpt(m: Decoder) -> Buffer:
    if m.config.clamp_qkv:
        raise UnsupportedError(f"clipping q, k and v at {m.config.clamp_qkv}", "MPT files without clamp_kqv")
    return gpt2.layers(m, m.embed(), activation="gelu_erf", slopes=m.alibi_slopes())
