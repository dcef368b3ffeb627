"""Decoder transformers in float64 NumPy, one function per family. Slow and obvious; never imports the package.

`logits(metadata, weights, token_ids)` takes what a GGUF file holds: metadata by GGUF's keys, weights by GGUF's
tensor names as arrays (rows = outputs, columns = inputs), already dequantised. The whole sequence is computed at
once, without a cache. Shapes in comments: T tokens, D embedding, H heads, K key-value heads, N head dimension.
"""

from __future__ import annotations

import math

import numpy as np


def logits(metadata, weights, token_ids):
    """The logits (T, n_vocab) float64 after each of `token_ids` (T,)."""
    family = FAMILIES[metadata["general.architecture"]]
    return family(Model(metadata, weights), np.asarray(token_ids, np.int64))


class Model:
    """Metadata without the architecture prefix, and weights in float64 on demand."""

    def __init__(self, metadata, weights):
        self.metadata = metadata
        self.weights = weights
        self.prefix = metadata["general.architecture"]

    def get(self, key, default=None):
        return self.metadata.get(f"{self.prefix}.{key}", default)

    def __getitem__(self, name):
        return np.asarray(self.weights[name], np.float64)

    def __contains__(self, name):
        return name in self.weights

    def linear(self, name, x):
        """x (T, inputs) -> (T, outputs), with the bias if there is one."""
        y = x @ self[f"{name}.weight"].T
        return y + self[f"{name}.bias"] if f"{name}.bias" in self else y

    def rms_norm(self, name, x):
        """x / sqrt(mean(x²) + ε) · weight, over the last axis."""
        epsilon = self.get("attention.layer_norm_rms_epsilon")
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * self[f"{name}.weight"]

    def layer_norm(self, name, x):
        """(x - mean) / sqrt(variance + ε) · weight + bias, over the last axis."""
        centred = x - x.mean(-1, keepdims=True)
        y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + self.get("attention.layer_norm_epsilon"))
        y = y * self[f"{name}.weight"]
        return y + self[f"{name}.bias"] if f"{name}.bias" in self else y

    @property
    def n_layers(self):
        return self.get("block_count")

    @property
    def n_heads(self):
        return self.get("attention.head_count")

    @property
    def n_kv_heads(self):
        return self.get("attention.head_count_kv", self.n_heads)

    @property
    def head_dim(self):
        return self.get("attention.key_length", self.get("embedding_length") // self.n_heads)

    def output(self, x):
        """Final projection; tied to the embedding where there is no `output.weight`."""
        return x @ self["output.weight" if "output.weight" in self else "token_embd.weight"].T


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softcap(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def rope_frequencies(model, n_tokens):
    """Angle per position of each pair (n_rot / 2,), and the factor on cosine and sine.

    Scaling types: `linear` divides every frequency; `ntk` raises the base so that the slowest is divided and the
    fastest kept; `yarn` divides slow ones, keeps fast ones and blends between. `rope_freqs.weight` (Llama 3)
    divides each by its own factor, `rope_factors_long.weight` and `_short` (LongRoPE) by one of two, by whether
    the sequence is longer than the original context.
    """
    n_rot = model.get("rope.dimension_count", model.head_dim)
    base = model.get("rope.freq_base", 10000.0)
    kind = model.get("rope.scaling.type", "none")
    factor = model.get("rope.scaling.factor", 1.0)
    context = model.get("rope.scaling.original_context_length", model.get("context_length"))
    magnitude = 1.0
    if kind == "ntk":
        base = base * factor ** (n_rot / (n_rot - 2))
    pair = np.arange(n_rot // 2)
    frequencies = base ** (-2.0 * pair / n_rot)
    if "rope_freqs.weight" in model:
        frequencies = frequencies / model["rope_freqs.weight"]
    if kind == "linear":
        frequencies = frequencies / factor
    elif kind == "yarn":

        def pair_that_turns(times):
            return n_rot * math.log(context / (times * 2 * math.pi)) / (2 * math.log(base))

        fast = model.get("rope.scaling.yarn_beta_fast", 32.0)
        slow = model.get("rope.scaling.yarn_beta_slow", 1.0)
        first = max(0, math.floor(pair_that_turns(fast)))
        last = min(n_rot - 1, math.ceil(pair_that_turns(slow)))
        kept = 1 - np.clip((pair - first) / max(0.001, last - first), 0, 1)
        frequencies = frequencies / factor * (1 - kept) + frequencies * kept
        magnitude = 1 + 0.1 * math.log(factor)
    if "rope_factors_long.weight" in model:
        longer = n_tokens > context
        frequencies = frequencies / model[f"rope_factors_{'long' if longer else 'short'}.weight"]
    return frequencies, magnitude * model.get("rope.scaling.attn_factor", 1.0)


def rope(model, x, *, pairs):
    """Rotate each pair of x (T, heads, N) by its position times the pair's frequency.

    `pairs` "adjacent": elements 2i and 2i + 1; "halves": i and i + n_rot / 2. Elements past n_rot stay.
    """
    n_tokens = len(x)
    frequencies, magnitude = rope_frequencies(model, n_tokens)
    n_rot = 2 * len(frequencies)
    angle = np.arange(n_tokens)[:, None, None] * frequencies
    cos, sin = magnitude * np.cos(angle), magnitude * np.sin(angle)
    first = np.s_[..., 0:n_rot:2] if pairs == "adjacent" else np.s_[..., : n_rot // 2]
    second = np.s_[..., 1:n_rot:2] if pairs == "adjacent" else np.s_[..., n_rot // 2 : n_rot]
    y = x.copy()
    y[first] = x[first] * cos - x[second] * sin
    y[second] = x[first] * sin + x[second] * cos
    return y


def alibi_slopes(n_heads, max_bias):
    """The slope of each head: a falling geometric series, doubled in density where n_heads is no power of two."""
    power = 2 ** math.floor(math.log2(n_heads))
    slopes = [2 ** (-max_bias * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-max_bias / 2 * (2 * h + 1) / power) for h in range(n_heads - power)]
    return np.array(slopes)


def attention(q, k, v, *, scale, window=0, cap=0.0, slopes=None):
    """q (T, H, N), k and v (T, K, N) -> (T, H N): causal, head h reads key-value head h K / H.

    `window` > 0: a token sees itself and the `window` - 1 before it. `slopes` (H,): ALiBi's bias per distance.
    """
    n_tokens, n_heads, _ = q.shape
    per_kv = n_heads // k.shape[1]
    k, v = np.repeat(k, per_kv, axis=1), np.repeat(v, per_kv, axis=1)
    scores = softcap(np.einsum("thn,shn->hts", q, k) * scale, cap)
    distance = np.arange(n_tokens)[:, None] - np.arange(n_tokens)
    if slopes is not None:
        scores = scores - slopes[:, None, None] * distance
    seen = distance >= 0
    if window:
        seen &= distance < window
    scores = np.where(seen, scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return np.einsum("hts,shn->thn", p, v).reshape(n_tokens, -1)


def heads(x, n):
    return x.reshape(len(x), n, -1)


def llama(model, ids, *, pairs="adjacent", activation=silu):
    """Llama, Mistral (sliding window), Qwen2 (QKV biases), Qwen3 (RMS norm over each head of Q and K)."""
    x = model["token_embd.weight"][ids]
    for i in range(model.n_layers):
        block = f"blk.{i}."
        h = model.rms_norm(block + "attn_norm", x)
        q = heads(model.linear(block + "attn_q", h), model.n_heads)
        k = heads(model.linear(block + "attn_k", h), model.n_kv_heads)
        v = heads(model.linear(block + "attn_v", h), model.n_kv_heads)
        if block + "attn_q_norm.weight" in model:
            q, k = model.rms_norm(block + "attn_q_norm", q), model.rms_norm(block + "attn_k_norm", k)
        q, k = rope(model, q, pairs=pairs), rope(model, k, pairs=pairs)
        window = model.get("attention.sliding_window", 0)
        a = attention(q, k, v, scale=model.head_dim**-0.5, window=window)
        x = x + model.linear(block + "attn_output", a)
        h = model.rms_norm(block + "ffn_norm", x)
        gate = activation(model.linear(block + "ffn_gate", h))
        x = x + model.linear(block + "ffn_down", gate * model.linear(block + "ffn_up", h))
    return model.output(model.rms_norm("output_norm", x))


def qwen(model, ids):
    return llama(model, ids, pairs="halves")


def gpt2(model, ids):
    """Learned positions, layer norms, fused QKV, GELU."""
    x = model["token_embd.weight"][ids] + model["position_embd.weight"][: len(ids)]
    for i in range(model.n_layers):
        block = f"blk.{i}."
        q, k, v = np.split(model.linear(block + "attn_qkv", model.layer_norm(block + "attn_norm", x)), 3, axis=1)
        q, k, v = (heads(part, model.n_heads) for part in (q, k, v))
        a = attention(q, k, v, scale=model.head_dim**-0.5)
        x = x + model.linear(block + "attn_output", a)
        h = gelu_tanh(model.linear(block + "ffn_up", model.layer_norm(block + "ffn_norm", x)))
        x = x + model.linear(block + "ffn_down", h)
    return model.output(model.layer_norm("output_norm", x))


def gemma(model, ids):
    """Embeddings times sqrt(D), GeGLU. GGUF stores the norms' weights with their 1 already added."""
    x = model["token_embd.weight"][ids] * math.sqrt(model.get("embedding_length"))
    for i in range(model.n_layers):
        block = f"blk.{i}."
        h = model.rms_norm(block + "attn_norm", x)
        q = rope(model, heads(model.linear(block + "attn_q", h), model.n_heads), pairs="halves")
        k = rope(model, heads(model.linear(block + "attn_k", h), model.n_kv_heads), pairs="halves")
        v = heads(model.linear(block + "attn_v", h), model.n_kv_heads)
        x = x + model.linear(block + "attn_output", attention(q, k, v, scale=model.head_dim**-0.5))
        h = model.rms_norm(block + "ffn_norm", x)
        gate = gelu_tanh(model.linear(block + "ffn_gate", h))
        x = x + model.linear(block + "ffn_down", gate * model.linear(block + "ffn_up", h))
    return model.output(model.rms_norm("output_norm", x))


def gemma2(model, ids):
    """Gemma with norms after each part too, soft-capped scores and logits, a window in every even layer."""
    x = model["token_embd.weight"][ids] * math.sqrt(model.get("embedding_length"))
    for i in range(model.n_layers):
        block = f"blk.{i}."
        h = model.rms_norm(block + "attn_norm", x)
        q = rope(model, heads(model.linear(block + "attn_q", h), model.n_heads), pairs="halves")
        k = rope(model, heads(model.linear(block + "attn_k", h), model.n_kv_heads), pairs="halves")
        v = heads(model.linear(block + "attn_v", h), model.n_kv_heads)
        window = model.get("attention.sliding_window") if i % 2 == 0 else 0
        cap = model.get("attn_logit_softcapping")
        a = attention(q, k, v, scale=model.head_dim**-0.5, window=window, cap=cap)
        x = x + model.rms_norm(block + "post_attention_norm", model.linear(block + "attn_output", a))
        h = model.rms_norm(block + "ffn_norm", x)
        gate = gelu_tanh(model.linear(block + "ffn_gate", h))
        h = model.linear(block + "ffn_down", gate * model.linear(block + "ffn_up", h))
        x = x + model.rms_norm(block + "post_ffw_norm", h)
    return softcap(model.output(model.rms_norm("output_norm", x)), model.get("final_logit_softcapping"))


def phi3(model, ids):
    """Llama with Q, K and V in one matrix, and gate and up in one."""
    n_q, n_kv = model.n_heads * model.head_dim, model.n_kv_heads * model.head_dim
    x = model["token_embd.weight"][ids]
    for i in range(model.n_layers):
        block = f"blk.{i}."
        qkv = model.linear(block + "attn_qkv", model.rms_norm(block + "attn_norm", x))
        q, k, v = np.split(qkv, [n_q, n_q + n_kv], axis=1)
        q = rope(model, heads(q, model.n_heads), pairs="halves")
        k = rope(model, heads(k, model.n_kv_heads), pairs="halves")
        window = model.get("attention.sliding_window", 0)
        a = attention(q, k, heads(v, model.n_kv_heads), scale=model.head_dim**-0.5, window=window)
        x = x + model.linear(block + "attn_output", a)
        gate, up = np.split(model.linear(block + "ffn_up", model.rms_norm(block + "ffn_norm", x)), 2, axis=1)
        x = x + model.linear(block + "ffn_down", silu(gate) * up)
    return model.output(model.rms_norm("output_norm", x))


def bloom(model, ids):
    """GPT-2's block with ALiBi instead of positions, and a norm on the embedding."""
    slopes = alibi_slopes(model.n_heads, 8.0)
    x = model.layer_norm("token_embd_norm", model["token_embd.weight"][ids])
    return _alibi_blocks(model, x, slopes, gelu_tanh)


def mpt(model, ids):
    """ALiBi, no biases, GELU by the error function, Q, K and V held to a range where the file says so."""
    slopes = alibi_slopes(model.n_heads, model.get("attention.max_alibi_bias"))
    return _alibi_blocks(model, model["token_embd.weight"][ids], slopes, gelu_erf)


def _alibi_blocks(model, x, slopes, activation):
    limit = model.get("attention.clamp_kqv", 0.0) or math.inf
    for i in range(model.n_layers):
        block = f"blk.{i}."
        qkv = model.linear(block + "attn_qkv", model.layer_norm(block + "attn_norm", x)).clip(-limit, limit)
        q, k, v = (heads(part, model.n_heads) for part in np.split(qkv, 3, axis=1))
        a = attention(q, k, v, scale=model.head_dim**-0.5, slopes=slopes)
        x = x + model.linear(block + "attn_output", a)
        h = activation(model.linear(block + "ffn_up", model.layer_norm(block + "ffn_norm", x)))
        x = x + model.linear(block + "ffn_down", h)
    return model.output(model.layer_norm("output_norm", x))


FAMILIES = {
    "llama": llama,
    "qwen2": qwen,
    "qwen3": qwen,
    "gpt2": gpt2,
    "gemma": gemma,
    "gemma2": gemma2,
    "phi3": phi3,
    "bloom": bloom,
    "mpt": mpt,
}
