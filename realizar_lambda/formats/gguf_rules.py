"""What the metadata of a GGUF file must say about its own tensors and vocabulary; it knows no architecture.

Each rule is a known way to crash a reader: a head count of zero, a block count beyond any model, a vocabulary
of another length than the embedding, token ids outside of it, tokenizer arrays of another type than they are
read as, byte tokens such as `<0x-1>`.
"""

from __future__ import annotations

from realizar_lambda.errors import FormatError
from realizar_lambda.formats.gguf_strings import StringArray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.formats.gguf import Metadata
    from realizar_lambda.tensor import Tensor

MAX_BLOCKS = 1024
PADDING_ID = "tokenizer.ggml.padding_token_id"

_COUNTS = (
    *("block_count", "context_length", "embedding_length", "feed_forward_length", "vocab_size"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"),
    "rope.dimension_count",
)
_INTEGERS = ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64")
_ARRAYS = {
    "tokenizer.ggml.tokens": ("[string]",),
    "tokenizer.ggml.merges": ("[string]",),
    "tokenizer.ggml.scores": ("[f32]",),
    "tokenizer.ggml.token_type": ("[i32]", "[u32]"),
}
_HEXADECIMAL = b"0123456789abcdefABCDEF"


def check_model(path: str, metadata: Metadata, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What is worth knowing about the file, for `ModelFile.checks`.

    A padding id outside of the vocabulary, which converters of many chat models have written and which nothing
    here uses, is taken out of the metadata instead of making the file unreadable. Raises FormatError, which
    names the key, its value and what it must be.
    """
    notes = {}
    architecture = metadata.get("general.architecture")
    if isinstance(architecture, str):
        _check_counts(path, architecture, metadata, tensors)
    tokens = metadata.get("tokenizer.ggml.tokens")
    padding = metadata.get(PADDING_ID)
    if isinstance(tokens, StringArray) and isinstance(padding, int) and not 0 <= padding < len(tokens):
        notes["padding token"] = f"id {padding} is outside the vocabulary of {len(tokens)}, left out"
        del metadata[PADDING_ID]
        del metadata.types[PADDING_ID]
    _check_vocabulary(path, architecture, metadata, tensors)
    n_parts = metadata.get("split.count")
    if isinstance(n_parts, int) and n_parts > 1:
        notes["split"] = f"one of {n_parts} files, the tensors of the others are not here: join them with gguf-split"
    return notes


def _check_counts(path: str, architecture: str, metadata: Metadata, tensors: Mapping[str, Tensor]) -> None:
    found: dict[str, int] = {}
    for name in _COUNTS:
        key = f"{architecture}.{name}"
        value = metadata.get(key)
        type_name = metadata.types.get(key, "")
        if value is None or (type_name[1:-1] in _INTEGERS and type_name.startswith("[")):
            continue
        if type_name not in _INTEGERS or not isinstance(value, int) or not 1 <= value < 1 << 31:
            raise FormatError(path, None, f"{key} must be an integer in [1, 2**31), it is {value!r:.60} ({type_name})")
        found[name] = value
    n_blocks = found.get("block_count")
    if n_blocks is not None:
        if n_blocks > MAX_BLOCKS:
            raise FormatError(path, None, f"{architecture}.block_count is {n_blocks}, at most {MAX_BLOCKS} are read")
        for name in tensors:
            prefix, _, rest = name.partition(".")
            block = rest.partition(".")[0] if prefix == "blk" and rest.count(".") else ""
            if block.isascii() and block.isdigit() and len(block) < 10 and int(block) >= n_blocks:
                raise FormatError(path, None, f"tensor {name!r} is beyond {architecture}.block_count, {n_blocks}")
    n_heads, n_kv_heads = found.get("attention.head_count", 0), found.get("attention.head_count_kv", 1)
    if n_heads % n_kv_heads:
        raise FormatError(path, None, f"{n_heads} attention heads cannot share {n_kv_heads} key-value heads evenly")
    embedding, width = tensors.get("token_embd.weight"), found.get("embedding_length")
    if embedding is not None and width is not None and embedding.shape[-1:] != (width,):
        raise FormatError(
            path,
            None,
            f"token_embd.weight has shape {list(embedding.shape)}, {architecture}.embedding_length is {width}",
        )


def _check_vocabulary(path: str, architecture: object, metadata: Metadata, tensors: Mapping[str, Tensor]) -> None:
    for key, types in _ARRAYS.items():
        if key in metadata and metadata.types[key] not in types:
            raise FormatError(path, None, f"{key} is {metadata.types[key]}, it must be {' or '.join(types)}")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, StringArray):
        return
    n_tokens = len(tokens)
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        values = metadata.get(key)
        if isinstance(values, memoryview) and len(values) != n_tokens:
            raise FormatError(path, None, f"{key} has {len(values)} items, the vocabulary {n_tokens}")
    embedding = tensors.get("token_embd.weight")
    if embedding is not None and len(embedding.shape) == 2 and embedding.shape[0] != n_tokens:
        raise FormatError(path, None, f"token_embd.weight has {embedding.shape[0]} rows, the vocabulary {n_tokens}")
    declared = metadata.get(f"{architecture}.vocab_size", n_tokens)
    if declared != n_tokens:
        raise FormatError(path, None, f"{architecture}.vocab_size is {declared!r}, the vocabulary has {n_tokens}")
    for key, value in metadata.items():
        if key.startswith("tokenizer.ggml.") and key.endswith("_token_id"):
            is_id = metadata.types[key] in _INTEGERS and isinstance(value, int) and 0 <= value < n_tokens
            if not is_id:
                raise FormatError(path, None, f"{key} is {value!r:.60}, ids of this vocabulary are below {n_tokens}")
    if metadata.get("tokenizer.ggml.model") == "llama":
        _check_byte_tokens(path, tokens)


def _check_byte_tokens(path: str, tokens: StringArray) -> None:
    """Every entry `<0x...>` of a SentencePiece vocabulary names one byte in two hexadecimal digits."""
    data, position = tokens.data, tokens.start
    find = getattr(data.obj, "find", None)
    while find and (position := find(b"<0x", position, tokens.end)) >= 0:
        length = int.from_bytes(data[position - 8 : position], "little")
        entry = bytes(data[position : position + length]) if length <= 32 else b""
        if entry.endswith(b">") and (len(entry) != 6 or entry[3:5].strip(_HEXADECIMAL)):
            raise FormatError(path, position, f"the vocabulary entry {entry!r} is not a byte, <0x00> to <0xFF>")
        position += 3
