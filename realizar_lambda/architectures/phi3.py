"""Phi-3 (Microsoft, 2024): LLaMA with q, k and v in one matrix, and gate and up in one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def phi3(m: Decoder) -> Buffer:
    c = m.config
    n_q, n_kv = c.n_heads * c.head_width, c.n_kv_heads * c.head_width
    x = m.embed()
    for layer in m.layers():
        h = m.rms_norm(x, layer + "attn_norm")
        q = m.linear(h, layer + "attn_qkv", rows=(0, n_q), out="q", meets=False)
        k = m.linear(h, layer + "attn_qkv", rows=(n_q, n_q + n_kv), out="k", meets=False)
        v = m.linear(h, layer + "attn_qkv", rows=(n_q + n_kv, n_q + 2 * n_kv), out="v")
        m.rope(q, k, "halves")
        x = m.linear(m.attention(layer, q, k, v), layer + "attn_output", residual=x)
        h = m.rms_norm(x, layer + "ffn_norm")
        n_ff = m.tensor(layer + "ffn_up.weight").shape[0] // 2
        gate = m.linear(h, layer + "ffn_up", rows=(0, n_ff), out="gate", meets=False)
        up = m.linear(h, layer + "ffn_up", rows=(n_ff, 2 * n_ff), out="up")
        x = m.linear(m.b.gated("silu", gate, up), layer + "ffn_down", residual=x)
    return x
