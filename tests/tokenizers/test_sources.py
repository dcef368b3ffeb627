"""Where tokenizers come from: .apr metadata, GPT-2's two files, folders, and files that hold none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vocabularies import by_score

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import apr_v2, open_model
from realizar_lambda.tokenizers import from_model_file, load

SCORED = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256)), "▁a", "a", "▁"]
TENSORS = {"t": ((1,), "F32", bytes(4))}


def put_apr(folder: Path, **keys: object) -> Path:
    path = folder / "model.apr"
    apr_v2.write(path, TENSORS, {key.replace("__", "."): value for key, value in keys.items()})
    return path


def test_a_scored_vocabulary_in_apr_metadata_is_the_one_in_gguf_metadata(tmp_path: Path) -> None:
    path = put_apr(
        tmp_path,
        tokenizer__vocabulary=SCORED,
        tokenizer__scores=[0.0] * 259 + [-1.0, -2.0, -3.0],
        tokenizer__bos_token_id=1,
        tokenizer__eos_token_id=2,
    )
    ours, same = load(path), by_score([("▁a", -1.0), ("a", -2.0), ("▁", -3.0)])
    for text in ("a", "aa a", "é", "", "</s>"):
        assert ours.encode(text) == same.encode(text)
        assert ours.decode(ours.encode(text)) == text
    assert ours.is_control(1)
    assert ours.stop_ids == {2}


def test_merges_in_apr_metadata_make_a_byte_level_vocabulary(tmp_path: Path) -> None:
    tokens = ["<|endoftext|>", "a", "b", "Ġ", "ab", "Ġab"]
    merges = ["a b", "Ġ ab"]
    path = put_apr(tmp_path, tokenizer__vocabulary=tokens, tokenizer__merges=merges, tokenizer__eos_token_id=0)
    tokenizer = from_model_file(open_model(path))
    assert tokenizer.encode("ab ab<|endoftext|>", parse_special=True) == [4, 5, 0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "tokenizer.vocabulary is not there"),
        ({"tokenizer__vocabulary": "abc"}, "tokenizer.vocabulary is 'abc', it must be an array of strings"),
        ({"tokenizer__vocabulary": ["a", 1]}, "must be an array of strings"),
        ({"tokenizer__vocabulary": ["a"], "tokenizer__scores": ["x"]}, "tokenizer.scores is"),
        ({"tokenizer__vocabulary": ["a"], "tokenizer__bos_token_id": 4}, "bos_token_id is 4, ids are 0 to 0"),
        ({"tokenizer__vocabulary": ["a"], "tokenizer__merges": ["a b"]}, "merge 0 is b'a b'"),
    ],
)
def test_apr_metadata_that_break_a_rule_are_refused(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    path = put_apr(tmp_path, **keys)
    with pytest.raises(FormatError) as caught:
        load(path)
    assert message in str(caught.value)


def test_an_unknown_kind_in_apr_metadata_is_named(tmp_path: Path) -> None:
    path = put_apr(tmp_path, tokenizer__vocabulary=["a"], tokenizer__model="wordy")
    with pytest.raises(UnsupportedError, match=r"tokenizer\.model 'wordy' is not supported; supported: gpt2"):
        load(path)


def put_gpt2(folder: Path, ids: dict[str, object], merges: str) -> Path:
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text(merges)
    return folder


def test_gpt_2s_two_files_are_one_tokenizer(tmp_path: Path) -> None:
    ids = {"<|endoftext|>": 5, "a": 0, "b": 1, "ab": 2, "Ġ": 3}
    folder = put_gpt2(tmp_path, ids, "#version: 0.2\na b\n")
    for path in (folder, folder / "vocab.json", folder / "merges.txt"):
        tokenizer = load(path)
        assert tokenizer.encode("ab b") == [2, 3, 1]
        assert (tokenizer.eos_id, tokenizer.n_tokens) == (5, 6)
    assert tokenizer.piece(4) == b""


@pytest.mark.parametrize(
    ("ids", "merges", "message"),
    [
        ({"a": 0}, "\n", "neither <|endoftext|> nor </s> is a token"),
        ({"a": 0, "</s>": 1}, "a c", "merge 0 is b'a c'"),
        ({"a": "0", "</s>": 1}, "\n", "token 'a' has id '0'"),
    ],
)
def test_gpt_2s_files_that_break_a_rule_are_refused(
    tmp_path: Path, ids: dict[str, object], merges: str, message: str
) -> None:
    with pytest.raises(FormatError) as caught:
        load(put_gpt2(tmp_path, ids, merges))
    assert message in str(caught.value)


def test_a_half_of_the_pair_is_missed_by_name(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"</s>": 0}')
    with pytest.raises(FileNotFoundError, match=r"merges\.txt"):
        load(tmp_path)


def test_files_and_folders_without_a_tokenizer_are_refused(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="a folder without a tokenizer"):
        load(tmp_path)
    with pytest.raises(UnsupportedError, match="this file as a tokenizer"):
        load(data_dir / "README.md")
    classifier = open_model(data_dir / "apr" / "mnist_784x2.apr")
    with pytest.raises(UnsupportedError, match="a tokenizer in a apr-v1 file"):
        from_model_file(classifier)


def test_a_model_brings_its_tokenizer(data_dir: Path) -> None:
    folder = data_dir / "models" / "stories260K"
    reference = json.loads(next(folder.rglob("stories260K.reference.json")).read_text())
    tokenizer = load(folder / "derived" / "stories260K-f16.gguf")
    assert tokenizer.n_tokens == 512
    for case in reference["cases"]:
        assert tokenizer.encode(case["prompt"]) == case["prompt_ids"]
