"""LLaMA (Touvron and others, 2023), Mistral, Qwen 2 and Qwen 3: RMSNorm, rotary positions, grouped queries, SwiGLU.

h = rms_norm(x)
q, k, v = W_q h, W_k h, W_v h               Qwen 2 adds biases, Qwen 3 an RMSNorm over each head of q and k
x = x + W_o attention(rope(q), rope(k), v)
h = rms_norm(x)
x = x + W_down (silu(W_gate h) * W_up h)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer


def layers(m: Decoder, *, rope: str) -> Buffer:
    """The stream after the last layer; `rope` is the layout that the file's W_q and W_k were written for."""
    c = m.config
    x = m.embed()
    for layer in m.layers():
        h = m.rms_norm(x, layer + "attn_norm")
        q = m.linear(h, layer + "attn_q", n_rows=m.n_q, meets=False)
        k = m.linear(h, layer + "attn_k", n_rows=m.n_kv, meets=False)
        v = m.linear(h, layer + "attn_v", n_rows=m.n_kv)
        if m.has(layer + "attn_q_norm.weight"):
            m.rms_norm(q, layer + "attn_q_norm", n_groups=c.n_heads, in_place=True)
            m.rms_norm(k, layer + "attn_k_norm", n_groups=c.n_kv_heads, in_place=True)
        m.rope(q, k, rope)
        x = m.linear(m.attention(layer, q, k, v), layer + "attn_output", residual=x)
        h = m.rms_norm(x, layer + "ffn_norm")
        gate = m.linear(h, layer + "ffn_gate", meets=False)
        up = m.linear(h, layer + "ffn_up", n_rows=gate.width)
        x = m.linear(m.b.gated("silu", gate, up), layer + "ffn_down", residual=x)
    return x


def llama(m: Decoder) -> Buffer:
    """Neighbours turn: GGUF's order of W_q and W_k."""
    return layers(m, rope="pairs")


def qwen(m: Decoder) -> Buffer:
    """Halves turn: Qwen's files, and every Hugging Face file."""
    return layers(m, rope="halves")


def norm(m: Decoder, x: Buffer) -> Buffer:
    return m.rms_norm(x, "output_norm")
