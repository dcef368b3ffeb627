"""Phi-3 (Microsoft, 2024): LLaMA with q, k and v in one matrix, and gate and up in one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def phi3(m: Decoder) -> Buffer:
    x = m.embed()
    for layer in m.layers():
        h = m.rms_norm(x, layer + "attn_norm")
        q, k, v = m.split(h, layer + "attn_qkv", q=m.n_q, k=m.n_kv, v=m.n_kv)
        m.rope(q, k, "halves")
        x = m.linear(m.attention(layer, q, k, v), layer + "attn_output", residual=x)
        h = m.rms_norm(x, layer + "ffn_norm")
        n_ff = m.n_rows(layer + "ffn_up") // 2
        gate, up = m.split(h, layer + "ffn_up", gate=n_ff, up=n_ff)
        x = m.linear(m.b.gated("silu", gate, up), layer + "ffn_down", residual=x)
    return x
