"""Text to token ids and back, for every kind of vocabulary that model files hold; it does not know models.

`load` makes a Tokenizer from a file. Only the modules that this file needs are imported.
"""

from __future__ import annotations

import os

from realizar_lambda.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from realizar_lambda.formats import ModelFile
    from realizar_lambda.tokenizers.tokenizer import Tokenizer

__all__ = ["from_model_file", "load"]

MODELS = {"gguf-v2": "from_gguf", "gguf-v3": "from_gguf", "apr-v2": "from_apr"}
"""Format of a model file -> module with `from_metadata(path, metadata)`."""

FILES = (
    (".model", "from_sentencepiece"),
    ("vocab.json", "from_gpt2"),
    ("encoder.json", "from_gpt2"),
    ("merges.txt", "from_gpt2"),
    ("vocab.bpe", "from_gpt2"),
    (".json", "from_tokenizer_json"),
)
"""End of a file's name -> module with `from_file(path)`."""

SUPPORTED = "GGUF and .apr model files, tokenizer.json, SentencePiece .model, vocab.json or encoder.json with merges"


def load(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in the file or folder at `path`.

    A GGUF or .apr model with a vocabulary, a Hugging Face `tokenizer.json`, a SentencePiece `.model`, GPT-2's
    `vocab.json` (`encoder.json`) with `merges.txt` (`vocab.bpe`) beside it, or a folder that holds one of them.
    Raises FormatError, UnsupportedError, CapacityError, OSError.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        name = _in_folder(name)
    with open(name, "rb") as file:
        magic = file.read(4)
    if magic in (b"GGUF", b"APR\0"):
        from realizar_lambda.formats import open_model

        return from_model_file(open_model(name))
    base = os.path.basename(name)
    module = next((module for ending, module in FILES if base.endswith(ending)), None)
    if module is None:
        raise UnsupportedError(f"{name}: this file as a tokenizer", SUPPORTED)
    tokenizer: Tokenizer = _import(module).from_file(name)
    return tokenizer


def from_model_file(model: ModelFile) -> Tokenizer:
    """The tokenizer in the metadata of an opened model file. Raises FormatError, UnsupportedError."""
    module = MODELS.get(model.format)
    if module is None:
        raise UnsupportedError(f"{model.path}: a tokenizer in a {model.format} file", SUPPORTED)
    tokenizer: Tokenizer = _import(module).from_metadata(model.path, model.metadata)
    return tokenizer


def _in_folder(folder: str) -> str:
    for name in ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "encoder.json"):
        found = os.path.join(folder, name)
        if os.path.exists(found):
            return found
    raise UnsupportedError(f"{folder}: a folder without a tokenizer", SUPPORTED)


def _import(module: str) -> Any:
    return __import__(f"{__name__}.{module}", fromlist=("from_metadata",))
