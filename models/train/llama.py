"""A Llama in PyTorch for training: the equations alone. It knows no data, tokens or files.

Pre-norm RMSNorm, rotary positions on neighbouring pairs, grouped query heads, SwiGLU, embedding and output tied.
Parameters have the names that GGUF gives them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of the architecture; `context` is the longest row that is trained on."""

    n_vocab: int = 2048
    n_embd: int = 256
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 2
    n_ff: int = 768
    context: int = 512
    rope_base: float = 10000.0
    norm_epsilon: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_heads


class Norm(nn.Module):
    """x / rms(x) times a learnt weight."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.n_embd))
        self.epsilon = shape.norm_epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class Block(nn.Module):
    """One layer: attention and feed-forward, each added to the stream, with dropout on what is added."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        kv = shape.n_kv_heads * shape.head_dim
        self.heads = (shape.n_heads, shape.n_kv_heads, shape.head_dim)
        self.attn_norm = Norm(shape)
        self.attn_q = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.attn_k = nn.Linear(shape.n_embd, kv, bias=False)
        self.attn_v = nn.Linear(shape.n_embd, kv, bias=False)
        self.attn_output = nn.Linear(shape.n_embd, shape.n_embd, bias=False)
        self.ffn_norm = Norm(shape)
        self.ffn_gate = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_up = nn.Linear(shape.n_embd, shape.n_ff, bias=False)
        self.ffn_down = nn.Linear(shape.n_ff, shape.n_embd, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        x = x + self.dropout(self.attend(self.attn_norm(x), cosines, sines))
        h = self.ffn_norm(x)
        added: Tensor = self.dropout(self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h)))
        return x + added

    def attend(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        n_rows, n_tokens, width = x.shape
        n_heads, n_kv_heads, head_dim = self.heads
        q = self.attn_q(x).view(n_rows, n_tokens, n_heads, head_dim).transpose(1, 2)
        k = self.attn_k(x).view(n_rows, n_tokens, n_kv_heads, head_dim).transpose(1, 2)
        v = self.attn_v(x).view(n_rows, n_tokens, n_kv_heads, head_dim).transpose(1, 2)
        k = rotate(k, cosines, sines).repeat_interleave(n_heads // n_kv_heads, dim=1)
        v = v.repeat_interleave(n_heads // n_kv_heads, dim=1)
        mixed = functional.scaled_dot_product_attention(rotate(q, cosines, sines), k, v, is_causal=True)
        out: Tensor = self.attn_output(mixed.transpose(1, 2).reshape(n_rows, n_tokens, width))
        return out


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions on (rows, heads, tokens, head_dim): each pair of neighbours turned by its angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), dim=-1)
    return turned.flatten(-2).to(x.dtype)


class Llama(nn.Module):
    """(rows, tokens) ids -> (rows, tokens, n_vocab) logits."""

    def __init__(self, shape: Shape, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.n_vocab, shape.n_embd)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.n_layers))
        self.output_norm = Norm(shape)
        self.dropout = nn.Dropout(dropout)
        pairs = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
        angles = torch.outer(torch.arange(shape.context, dtype=torch.float64), shape.rope_base**-pairs)
        self.register_buffer("cosines", angles.cos().float(), persistent=False)
        self.register_buffer("sines", angles.sin().float(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * shape.n_layers) ** 0.5 if residual else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        n_tokens = ids.shape[1]
        cosines, sines = self.get_buffer("cosines")[:n_tokens], self.get_buffer("sines")[:n_tokens]
        x = self.dropout(self.token_embd(ids))
        for block in self.blk:
            x = block(x, cosines, sines)
        return functional.linear(self.output_norm(x), self.token_embd.weight)
