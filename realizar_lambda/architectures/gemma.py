"""Gemma and Gemma 2 (Google, 2024): scaled embeddings, GeGLU; Gemma 2 norms each part's output too, caps scores
and logits, and looks through a window in every other layer.

GGUF stores the norms' weights with their 1 already added.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def gemma(m: Decoder) -> Buffer:
    x = m.embed(scale=m.config.width**0.5)
    for layer in m.layers():
        x = m.linear(_attend(m, layer, x, m.config.window), layer + "attn_output", residual=x)
        x = m.linear(_gate(m, layer, x), layer + "ffn_down", residual=x)
    return x


def gemma2(m: Decoder) -> Buffer:
    x = m.embed(scale=m.config.width**0.5)
    for number, layer in enumerate(m.layers()):
        window = m.config.window if number % 2 == 0 else 0
        a = m.linear(_attend(m, layer, x, window), layer + "attn_output")
        x = m.b.add(x, m.rms_norm(a, layer + "post_attention_norm", in_place=True))
        h = m.linear(_gate(m, layer, x), layer + "ffn_down")
        x = m.b.add(x, m.rms_norm(h, layer + "post_ffw_norm", in_place=True))
    return x


def _attend(m: Decoder, layer: str, x: Buffer, window: int) -> Buffer:
    """attention(rope(W_q h), rope(W_k h), W_v h), h = rms_norm(x)"""
    h = m.rms_norm(x, layer + "attn_norm")
    q = m.linear(h, layer + "attn_q", n_rows=m.n_q, meets=False)
    k = m.linear(h, layer + "attn_k", n_rows=m.n_kv, meets=False)
    v = m.linear(h, layer + "attn_v", n_rows=m.n_kv)
    m.rope(q, k, "halves")
    return m.attention(layer, q, k, v, window=window)


def _gate(m: Decoder, layer: str, x: Buffer) -> Buffer:
    """gelu(W_gate h) * W_up h, h = rms_norm(x)"""
    h = m.rms_norm(x, layer + "ffn_norm")
    gate = m.linear(h, layer + "ffn_gate", meets=False)
    return m.b.gated("gelu", gate, m.linear(h, layer + "ffn_up", n_rows=gate.width))
