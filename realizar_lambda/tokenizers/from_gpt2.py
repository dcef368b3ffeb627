"""A tokenizer out of GPT-2's two files: tokens as a JSON object, merges as lines of text.

It does not know other pre-tokenizers than GPT-2's: a vocabulary that needs one comes with a tokenizer.json.
"""

from __future__ import annotations

import os

from realizar_lambda.errors import FormatError
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.formats.model_file import map_file
from realizar_lambda.tokenizers.models import ByteLevel
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES
from realizar_lambda.tokenizers.special_tokens import SpecialToken, SpecialTokens
from realizar_lambda.tokenizers.strings import PackedStrings, strings_by_id
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.vocabulary import CONTROL, NOT_A_TOKEN, Vocabulary

COMPANIONS = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}
ENDS = ("<|endoftext|>", "</s>")
CONTROLS = ("<|endoftext|>", "<s>", "</s>", "<pad>", "<mask>")


def from_file(path: str) -> Tokenizer:
    """The tokenizer in `vocab.json` and `merges.txt`, or `encoder.json` and `vocab.bpe`: `path` is one of a pair.

    `<|endoftext|>`, else `</s>`, is BOS and EOS. Nothing is put around texts. Raises FormatError.
    """
    folder, name = os.path.split(path)
    tokens_name = next((key for key, value in COMPANIONS.items() if name in (key, value)), "vocab.json")
    tokens_path = os.path.join(folder, tokens_name)
    merges_path = os.path.join(folder, COMPANIONS[tokens_name])
    vocabulary = Vocabulary(
        tokens_path,
        strings_by_id(tokens_path, parse_object(tokens_path, 0, bytes(map_file(tokens_path)))),
        None,
        is_byte_level=True,
    )
    vocabulary.use_merges(PackedStrings.from_bytes(_merges(bytes(map_file(merges_path)))))
    vocabulary.use_byte_tokens(vocabulary.find(bytes((value,))) for value in range(256))
    vocabulary.use_splitter(PreTokenizer(FAMILIES["gpt-2"].stages))
    controls = [token for name in CONTROLS if (token := vocabulary.find_written(name)) != NOT_A_TOKEN]
    vocabulary.set_types(controls, CONTROL)
    ends = [token for name in ENDS if (token := vocabulary.find_written(name)) != NOT_A_TOKEN]
    if not ends:
        raise FormatError(tokens_path, None, f"neither {' nor '.join(ENDS)} is a token: what ends a text is not known")
    return Tokenizer(
        vocabulary=vocabulary,
        model=ByteLevel(vocabulary),
        specials=SpecialTokens(
            SpecialToken.plain(token, vocabulary.written(token), is_always=False) for token in controls
        ),
        ids={"bos": ends[0], "eos": ends[0]},
        stop_ids=ends[:1],
    )


def _merges(data: bytes) -> list[bytes]:
    lines = data.replace(b"\r\n", b"\n").split(b"\n")
    return [line for number, line in enumerate(lines) if line and not (number == 0 and line.startswith(b"#version"))]
