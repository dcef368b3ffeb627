"""GPT-2 (Radford and others, 2019): learned positions, LayerNorm, one matrix for q, k and v, GELU.

x = embedding[ids] + position_embedding
q, k, v = W_qkv layer_norm(x) + b
x = x + W_o attention(q, k, v) + b
x = x + W_down gelu(W_up layer_norm(x) + b) + b
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.architectures.decoder import Decoder
    from realizar_lambda.program import Buffer, Constant


def gpt2(m: Decoder) -> Buffer:
    x = m.add_positions(m.embed())
    return layers(m, x, activation="gelu")


def layers(m: Decoder, x: Buffer, *, activation: str, slopes: Constant | None = None) -> Buffer:
    """The layers that BLOOM and MPT share, with ALiBi `slopes` in place of positions."""
    limit = m.config.clamp_qkv
    for layer in m.layers():
        h = m.layer_norm(x, layer + "attn_norm")
        q, k, v = m.split(h, layer + "attn_qkv", q=m.n_q, k=m.n_kv, v=m.n_kv)
        if limit:
            q, k, v = (m.b.clamp(part, limit) for part in (q, k, v))
        x = m.linear(m.attention(layer, q, k, v, slopes=slopes), layer + "attn_output", residual=x)
        h = m.layer_norm(x, layer + "ffn_norm")
        h = m.b.activation(activation, m.linear(h, layer + "ffn_up"))
        x = m.linear(h, layer + "ffn_down", residual=x)
    return x


def norm(m: Decoder, x: Buffer) -> Buffer:
    return m.layer_norm(x, "output_norm")
