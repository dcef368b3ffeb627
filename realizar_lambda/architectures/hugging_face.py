"""Hugging Face's tensor names for our families, and GPT-2's transposed matrices."""

from __future__ import annotations

from realizar_lambda import native
from realizar_lambda.architectures.widening import replaced
from realizar_lambda.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realizar_lambda.architectures.config import Config
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.tensor import Tensor

_LLAMA = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_GPT2 = {
    "token_embd": "wte",
    "position_embd": "wpe",
    "output_norm": "ln_f",
    "output": "lm_head",
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def _renamer(names: Mapping[str, str], layer: str) -> Callable[[str], str]:
    def rename(name: str) -> str:
        stem, _, suffix = name.rpartition(".")
        if stem.startswith("blk."):
            _, number, part = stem.split(".", 2)
            return f"{layer}.{number}.{names.get(part, part)}.{suffix}"
        return f"{names.get(stem, stem)}.{suffix}"

    return rename


NAMES = {
    "llama": _renamer(_LLAMA, "model.layers"),
    "mistral": _renamer(_LLAMA, "model.layers"),
    "qwen2": _renamer(_LLAMA, "model.layers"),
    "qwen3": _renamer(_LLAMA, "model.layers"),
    "gpt2": _renamer(_GPT2, "h"),
}
"""By model_type: from GGUF's tensor name to Hugging Face's."""


def prepared(file: ModelFile, config: Config) -> ModelFile:
    """The file with the tensors as our matmul reads them.

    Where the configuration ties the output matrix to the embedding, one of its own does not count. GPT-2's
    matrices are stored (inputs, outputs): they alone are copied, transposed. Its names may carry the prefix
    `transformer.`.
    """
    is_gpt2 = config.architecture == "gpt2"
    tensors = dict(file.tensors)
    if file.metadata["config"].get("tie_word_embeddings", is_gpt2):  # type: ignore[attr-defined]
        tensors.pop("lm_head.weight", None)
    if is_gpt2:
        plain = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
        tensors = {
            name: _transposed(file, tensor) if name.endswith(_TRANSPOSED) else tensor for name, tensor in plain.items()
        }
    return replaced(file, tensors)


def _transposed(file: ModelFile, tensor: Tensor) -> Tensor:
    if len(tensor.shape) != 2 or tensor.block.name not in ("F32", "F16", "BF16"):
        raise FormatError(
            file.path, tensor.offset, f"{tensor.name} is {tensor.block.name} {tensor.shape}, must be a matrix"
        )
    n_rows, n_columns = tensor.shape
    copy = native.allocate(len(tensor.data))
    native.library().transpose(
        native.address(copy), native.address(tensor.data), n_rows, n_columns, tensor.block.n_bytes
    )
    return tensor._replace(shape=(n_columns, n_rows), data=memoryview(copy)[: len(tensor.data)])
