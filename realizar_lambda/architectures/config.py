"""What a decoder's file declares, under one set of names, checked. It knows keys, not equations.

This is GGUF's metadata (`{architecture}.attention.head_count`, ...); hugging_face_config.py reads `config.json`.
docs/models.md lists the keys.
"""

from __future__ import annotations

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.formats.model_file import ModelFile

MAX_CONTEXT = 1 << 21
MAX_LAYERS = 1024
MAX_HEADS = 4096
MAX_HEAD_WIDTH = 1024

Rope = namedtuple("Rope", "n_rotated base kind factor original_context fast slow attention_factor low high")
"""Rotary positions: `kind` is one of rope.KINDS; see rope.py for what the rest means."""


class Config(
    namedtuple(
        "Config",
        "architecture n_layers n_heads n_kv_heads head_width width n_vocab context_length norm_epsilon window "
        "attention_cap logit_cap query_scale max_alibi_bias clamp_qkv rope",
    )
):
    """A decoder's numbers.

    `window`, `attention_cap`, `logit_cap`, `max_alibi_bias` and `clamp_qkv` are 0 where there is none;
    `query_scale` is what scores are multiplied by.
    """

    __slots__ = ()


class Keys:
    """Typed access to metadata; every complaint names the key. A key that is absent or None has its default."""

    def __init__(self, path: str, values: Mapping[str, object], prefix: str = "") -> None:
        self.path = path
        self.values = values
        self.prefix = prefix

    def count(self, key: str, default: int | None = None, *, least: int = 1, most: int = 1 << 24) -> int:
        value = self.values.get(self.prefix + key)
        if value is None and default is not None:
            return default
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, value, f"an integer from {least} to {most}")
        return value

    def number(self, key: str, default: float | None = None, *, least: float = 0.0, most: float = 1e9) -> float:
        value = self.values.get(self.prefix + key)
        if value is None and default is not None:
            return default
        if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
            raise self.wrong(key, value, f"a number from {least:g} to {most:g}")
        return float(value)  # type: ignore[arg-type]

    def text(self, key: str, default: str) -> str:
        value = self.values.get(self.prefix + key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, value, "text")
        return value

    def wrong(self, key: str, value: object, allowed: str) -> FormatError:
        return FormatError(self.path, None, f"{self.prefix}{key} is {value!r:.60}, must be {allowed}")


def from_gguf(file: ModelFile) -> Config:
    """The config of a GGUF file."""
    architecture = str(file.metadata["general.architecture"])
    keys = Keys(file.path, file.metadata, f"{architecture}.")
    if keys.count("expert_count", 0, least=0):
        raise UnsupportedError(f"a mixture of experts ({architecture}.expert_count)", "models without experts")
    if keys.values.get(f"{architecture}.attention.causal", True) is not True:
        raise UnsupportedError("attention that is not causal", "decoders")
    n_layers = keys.count("block_count", most=MAX_LAYERS)
    n_heads = keys.count("attention.head_count", most=MAX_HEADS)
    width = keys.count("embedding_length")
    head_width = keys.count("attention.key_length", max(width // n_heads, 1))
    if keys.count("attention.value_length", head_width) != head_width:
        raise UnsupportedError("value heads of another width than key heads", "attention.value_length = key_length")
    is_gemma2 = architecture == "gemma2"
    scaled_by = width / n_heads if is_gemma2 and n_layers == GEMMA2_27B_LAYERS else head_width
    return checked(
        file,
        Config(
            architecture=architecture,
            n_layers=n_layers,
            n_heads=n_heads,
            n_kv_heads=keys.count("attention.head_count_kv", n_heads, most=MAX_HEADS),
            head_width=head_width,
            width=width,
            n_vocab=_vocabulary(file, keys),
            context_length=keys.count("context_length", 2048, most=MAX_CONTEXT),
            norm_epsilon=keys.number(
                "attention.layer_norm_rms_epsilon",
                keys.number("attention.layer_norm_epsilon", 1e-5, most=1.0),
                most=1.0,
            ),
            window=keys.count("attention.sliding_window", 4096 if is_gemma2 else 0, least=0, most=1 << 31),
            attention_cap=keys.number("attn_logit_softcapping", 50.0 if is_gemma2 else 0.0),
            logit_cap=keys.number("final_logit_softcapping", 30.0 if is_gemma2 else 0.0),
            query_scale=keys.number("attention.scale", 0.0) or scaled_by**-0.5,
            max_alibi_bias=keys.number("attention.max_alibi_bias", 8.0, most=64.0),
            clamp_qkv=keys.number("attention.clamp_kqv", 0.0),
            rope=_rope(keys, head_width),
        ),
    )


GEMMA2_27B_LAYERS = 46
"""Gemma 2 27B divides scores by the root of width / heads, not of the head's width; no key of GGUF says so."""


def _rope(keys: Keys, head_width: int) -> Rope:
    kind = keys.text("rope.scaling.type", "linear" if f"{keys.prefix}rope.scale_linear" in keys.values else "none")
    attention_factor = keys.number("rope.scaling.attn_factor", 1.0) * keys.number("rope.scaling.yarn_attn_factor", 1.0)
    return Rope(
        n_rotated=keys.count("rope.dimension_count", head_width),
        base=keys.number("rope.freq_base", 10000.0, most=1e12),
        kind=kind,
        factor=keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1.0)),
        original_context=keys.count("rope.scaling.original_context_length", keys.count("context_length", 2048)),
        fast=keys.number("rope.scaling.yarn_beta_fast", 32.0),
        slow=keys.number("rope.scaling.yarn_beta_slow", 1.0),
        attention_factor=attention_factor,
        low=1.0,
        high=4.0,
    )


def _vocabulary(file: ModelFile, keys: Keys) -> int:
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise FormatError(
            file.path, None, "no tensor 'token_embd.weight' of two dimensions: this file holds no language model"
        )
    n_vocab = int(embedding.shape[0])
    if keys.count("vocab_size", n_vocab) != n_vocab:
        raise keys.wrong("vocab_size", keys.values[f"{keys.prefix}vocab_size"], f"{n_vocab}, the embedding's rows")
    return n_vocab


def checked(file: ModelFile, config: Config) -> Config:
    """The config, where its numbers go together."""
    rope = config.rope
    faults = (
        (config.n_heads % config.n_kv_heads, f"{config.n_heads} heads share {config.n_kv_heads} key heads unevenly"),
        (config.head_width > MAX_HEAD_WIDTH, f"a head is {config.head_width} wide, at most {MAX_HEAD_WIDTH}"),
        (
            rope.n_rotated > config.head_width,
            f"{rope.n_rotated} values of a head are rotated, it has {config.head_width}",
        ),
        (rope.base <= 1.0, f"the rotary base is {rope.base}, must be greater than 1"),
        (rope.factor <= 0.0, f"the rotary scaling factor is {rope.factor}, must be greater than 0"),
        (min(rope.fast, rope.slow) <= 0.0, f"YaRN's bounds are {rope.fast} and {rope.slow}, must be greater than 0"),
        (rope.low >= rope.high, f"the rotary frequency factors are {rope.low} and {rope.high}, must rise"),
    )
    for is_wrong, message in faults:
        if is_wrong:
            raise FormatError(file.path, None, message)
    return config
