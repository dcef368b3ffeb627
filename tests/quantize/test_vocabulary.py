"""Vocabularies of Hugging Face folders as GGUF's keys."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.quantize import sentencepiece
from realizar_lambda.quantize.vocabulary import PRE_TOKENIZERS, read_vocabulary


def keys(folder, n_tokens, config=None, **options):
    return {key: value for key, value, _ in read_vocabulary(str(folder), config or {}, n_tokens, **options)}


def write_document(folder, **parts):
    document = {
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "pre_tokenizer": {"type": "ByteLevel", "use_regex": True},
        "added_tokens": [
            {"id": 3, "content": "<|end|>", "special": True},
            {"id": 4, "content": "hm", "special": False},
        ],
    }
    (folder / "tokenizer.json").write_text(json.dumps(document | parts))


def test_a_byte_level_document_gives_tokens_types_and_merges(tmp_path):
    write_document(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"eos_token": {"content": "<|end|>"}, "add_bos_token": False, "chat_template": "{{ x }}"})
    )
    assert keys(tmp_path, 6, {"bos_token_id": 2, "eos_token_id": [1, 2]}) == {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<|end|>", "hm", "[PAD 5]"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3, 4, 5],
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": "{{ x }}",
    }


def test_merges_may_be_pairs_and_bos_may_be_in_the_template(tmp_path):
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "a"}}, {"Sequence": {"id": "A"}}]}
    write_document(
        tmp_path,
        model={"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]},
        post_processor={"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]},
    )
    got = keys(tmp_path, 5)
    assert got["tokenizer.ggml.merges"] == ["a b"]
    assert got["tokenizer.ggml.add_bos_token"] is True
    assert got["tokenizer.ggml.add_eos_token"] is False


@pytest.mark.parametrize(("signature", "name"), PRE_TOKENIZERS.items(), ids=PRE_TOKENIZERS.values())
def test_every_known_pre_tokenizer_is_named(signature, name, tmp_path):
    stages = [
        {"type": part, "individual_digits": True}
        if part in ("ByteLevel", "Digits")
        else {"type": "Split", "pattern": {"Regex": part}, "behavior": "Isolated"}
        for part in signature
    ]
    stages += [{"type": "ByteLevel", "use_regex": False}] if "ByteLevel" not in signature else []
    write_document(tmp_path, pre_tokenizer={"type": "Sequence", "pretokenizers": stages})
    assert keys(tmp_path, 5)["tokenizer.ggml.pre"] == name


def test_an_unknown_pre_tokenizer_is_refused_unless_its_name_is_given(tmp_path):
    write_document(tmp_path, pre_tokenizer={"type": "Split", "pattern": {"Regex": "x+"}})
    with pytest.raises(UnsupportedError, match=r"the pre-tokenizer \['x\+'\].*gpt-2, smollm, llama-bpe, qwen2"):
        keys(tmp_path, 5)
    assert keys(tmp_path, 5, pre_tokenizer="tekken")["tokenizer.ggml.pre"] == "tekken"


def test_a_document_with_byte_fallback_is_scored_by_rank(tmp_path):
    vocabulary = {"<unk>": 0, "<0x41>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6}
    model = {"type": "BPE", "vocab": vocabulary, "merges": ["a b", "▁ ab"], "byte_fallback": True, "unk_token": "<unk>"}
    write_document(tmp_path, model=model, normalizer={"type": "Prepend", "prepend": "▁"}, added_tokens=[])
    got = keys(tmp_path, 7)
    assert got["tokenizer.ggml.model"] == "llama"
    assert got["tokenizer.ggml.token_type"] == [2, 6, 1, 1, 1, 1, 1]
    assert got["tokenizer.ggml.scores"] == [-2.0, -2.0, -2.0, -2.0, -2.0, -0.0, -1.0]
    assert got["tokenizer.ggml.add_space_prefix"] is True


def test_gpt2s_two_files_are_read(data_dir, tmp_path):
    source = data_dir / "tokenizers" / "gpt2"
    (tmp_path / "vocab.json").write_bytes((source / "encoder.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((source / "vocab.bpe").read_bytes())
    got = keys(tmp_path, 50257, {"eos_token_id": 50256})
    assert got["tokenizer.ggml.tokens"][50256] == "<|endoftext|>"
    assert len(got["tokenizer.ggml.merges"]) == 50000
    assert got["tokenizer.ggml.eos_token_id"] == 50256


def test_a_real_sentencepiece_model_is_what_llama_cpp_makes_of_it(data_dir, tmp_path):
    (path,) = (data_dir / "tokenizers" / "sentencepiece").glob("*.model")
    (tmp_path / "tokenizer.model").write_bytes(path.read_bytes())
    expected = open_model(data_dir / "tokenizers" / "ggml-vocab-llama-spm.gguf").metadata
    got = keys(tmp_path, 32000)
    for key in ("model", "bos_token_id", "eos_token_id", "unknown_token_id"):
        assert got[f"tokenizer.ggml.{key}"] == expected[f"tokenizer.ggml.{key}"], key
    for key, start in (("tokens", 0), ("token_type", 0), ("scores", 260)):
        assert got[f"tokenizer.ggml.{key}"][start:] == list(expected[f"tokenizer.ggml.{key}"])[start:], key


def test_added_tokens_of_the_configuration_follow_the_pieces(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(pieces(("<unk>", 0.0, 2), ("a", -1.0, 1)))
    added = {"0": {"content": "<unk>", "special": True}, "2": {"content": "<|im_end|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    got = keys(tmp_path, 3)
    assert got["tokenizer.ggml.tokens"] == ["<unk>", "a", "<|im_end|>"]
    assert got["tokenizer.ggml.token_type"] == [2, 1, 3]


def test_a_folder_without_vocabulary_gives_no_keys(tmp_path):
    assert keys(tmp_path, 5) == {}


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"model": {"type": "WordPiece"}}, UnsupportedError, "type 'WordPiece'"),
        ({"model": []}, FormatError, "model must be an object"),
        ({"model": {"vocab": {"a": 9}, "merges": []}}, FormatError, "token 'a' has id 9, ids are 0 to 4"),
        ({"model": {"vocab": {"a": 0}, "merges": [["a"]]}}, FormatError, "a merge must be two tokens"),
        ({"model": {"vocab": {"a": 0}}}, FormatError, "a list was expected"),
    ],
)
def test_a_broken_document_is_refused(parts, error, message, tmp_path):
    write_document(tmp_path, **parts)
    with pytest.raises(error, match=message):
        keys(tmp_path, 5)


def field(number, payload):
    return bytes([number << 3 | 2, len(payload)]) + payload


def pieces(*rows):
    return b"".join(
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, kind]))
        for text, score, kind in rows
    )


def test_defaults_of_the_protocol_buffer_hold_where_fields_are_absent():
    got = sentencepiece.read("t", field(1, field(1, b"<unk>")) + field(1, field(1, b"b")) + field(1, field(1, b"c")))
    assert got == (["<unk>", "b", "c"], [0.0] * 3, [1] * 3, True, {"unknown": 0, "bos": 1, "eos": 2}, True)


def test_settings_of_trainer_and_normalizer_are_read():
    trainer = field(2, bytes([3 << 3, 2]) + b"\xc8\x02\x01" + b"\xd8\x02" + b"\xff" * 9 + b"\x01")
    got = sentencepiece.read("t", pieces(("a", 0.5, 1), ("b", 0.0, 3)) + trainer + field(3, b"\x18\x00"))
    assert not got.is_unigram
    assert not got.adds_space
    assert got.special_ids["bos"] == 1 or "bos" not in got.special_ids
    assert got.scores == [0.5, 0.0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is no piece"),
        (b"\x0a\x05ab", "field 1 is 5 bytes long, 2 are left"),
        (b"\x0b", "wire type 3"),
        (b"\xff" * 12, "does not end within 10 bytes"),
        (pieces(("a", 0.0, 9)), "type 9, types are 1 to 6"),
        (field(1, field(1, b"\xff")), "is not UTF-8"),
    ],
)
def test_a_broken_protocol_buffer_is_refused(data, message):
    with pytest.raises(FormatError, match=message):
        sentencepiece.read("tokenizer.model", data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["a", "b", "a b", "BPE", "ByteLevel", "<0x41>"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "content", "id", "a"]), inner),
    max_leaves=6,
)
PARTS = ["model", "pre_tokenizer", "normalizer", "post_processor", "added_tokens"]
SETTINGS = ["added_tokens_decoder", "bos_token", "eos_token", "add_bos_token", "chat_template"]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(PARTS), JSON), st.dictionaries(st.sampled_from(SETTINGS), JSON))
def test_any_json_is_read_or_refused_with_our_error(tmp_path_factory, parts, configuration):
    folder = tmp_path_factory.mktemp("json")
    write_document(folder, **parts)
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration))
    with contextlib.suppress(FormatError, UnsupportedError):
        assert keys(folder, 5)["tokenizer.ggml.model"] in ("gpt2", "llama")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\x0a", b"\x12", b"\x1a", b"\x15", b"\x80"])).map(b"".join))
def test_any_bytes_are_pieces_or_refused_with_our_error(data):
    with contextlib.suppress(FormatError):
        assert sentencepiece.read("t", data).tokens
