"""llama.cpp's own answers for every GGUF vocabulary of the reference data: ids, pieces, stop ids."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from vocabularies import GGUF_NAMES, mixed_texts

from realizar_lambda.tokenizers import load

pytestmark = pytest.mark.peers

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (the `bench` extra)")

FILES = [f"tokenizers/ggml-vocab-{name}.gguf" for name in GGUF_NAMES] + [
    f"gguf/malformed-1/vocab-{name}.gguf"
    for name in ("bpe-gpt4o", "bpe-llama3", "bpe-qwen2", "bpe-qwen35", "bpe-smollm", "bpe-spm-gemma4", "spm-zeroscores")
]
SPECIALS = "<s>a</s> <|endoftext|><|eot_id|> b<|end|>\n c<|user|> d[CLS]e<unk>  f<fim_prefix>g"


@pytest.mark.parametrize("file", FILES)
def test_a_vocabulary_does_what_it_does_in_llama_cpp(data_dir: Path, file: str) -> None:
    path = data_dir / file
    theirs, ours = llama_cpp.Llama(str(path), vocab_only=True, verbose=False), load(path)
    for text in (*mixed_texts(data_dir), SPECIALS):
        data = text.encode()
        assert ours.encode(text, add_special=False) == theirs.tokenize(data, add_bos=False, special=False), text
        assert ours.encode(text) == theirs.tokenize(data, add_bos=True, special=False)
        assert ours.encode(text, parse_special=True) == theirs.tokenize(data, add_bos=True, special=True)
    vocabulary = llama_cpp.llama_model_get_vocab(theirs.model)
    tokens = range(ours.n_tokens)
    assert ours.stop_ids == {token for token in tokens if llama_cpp.llama_vocab_is_eog(vocabulary, token)}
    for ours_id, theirs_id in (
        (ours.bos_id, llama_cpp.llama_vocab_bos(vocabulary)),
        (ours.eos_id, llama_cpp.llama_vocab_eos(vocabulary)),
        (ours.eot_id, llama_cpp.llama_vocab_eot(vocabulary)),
    ):
        assert (-1 if ours_id is None else ours_id) == theirs_id
    room = ctypes.create_string_buffer(4096)
    for token in tokens[:: max(1, len(tokens) // 5000)]:
        n = llama_cpp.llama_token_to_piece(vocabulary, token, room, len(room), 0, True)
        is_cleaned = "bert" in file and room.raw[:1] == b" "  # we write punctuation without the space before it
        assert ours.piece(token) == room.raw[:n] or is_cleaned
