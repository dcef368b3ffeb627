"""BLOOM and MPT: GPT-2's layers with ALiBi, a penalty on distance in each head's scores, in place of positions.

BLOOM (2022) normalises the embedding; MPT (MosaicML, 2023) has no biases, uses GELU by the error function, and may
hold q, k and v to a range.
"""

from __future__ import annotations

from realizar_lambda.architectures import gpt2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def bloom(m: Decoder) -> Buffer:
    x = m.layer_norm(m.embed(), "token_embd_norm", in_place=True)
    return gpt2.layers(m, x, activation="gelu", slopes=m.alibi_slopes())


def mpt(m: Decoder) -> Buffer:
    x = m.embed()
    if m.has("position_embd.weight"):  # the few without ALiBi
        x = m.add_positions(x)
    return gpt2.layers(m, x, activation="gelu_erf", slopes=m.alibi_slopes())
