"""The sentencepiece library's own answers, for Llama 2 and for small models that it trains here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from vocabularies import metadata, mixed_texts, unicode_text

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.tokenizers import load
from realizar_lambda.tokenizers.charsmap import Charsmap
from realizar_lambda.tokenizers.from_gguf import from_metadata

sentencepiece = pytest.importorskip("sentencepiece")

RECIPES = {
    "unigram": {"model_type": "unigram", "vocab_size": 500},
    "unigram with bytes": {"model_type": "unigram", "vocab_size": 800, "byte_fallback": True},
    "unigram with symbols": {
        "model_type": "unigram", "vocab_size": 500, "user_defined_symbols": ["Alice", "▁▁", "<sep>", "中"],
    },
    "unigram that folds case": {
        "model_type": "unigram", "vocab_size": 400, "normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False,
    },
    "bpe": {"model_type": "bpe", "vocab_size": 500},
    "bpe with bytes, as it is": {
        "model_type": "bpe", "vocab_size": 800, "byte_fallback": True, "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
    },
    "bpe with symbols": {"model_type": "bpe", "vocab_size": 500, "user_defined_symbols": ["Alice", "ing", "中"]},
    "bpe across words": {"model_type": "bpe", "vocab_size": 500, "split_by_whitespace": False},
    "unigram as it is": {"model_type": "unigram", "vocab_size": 500, "normalization_rule_name": "identity"},
    "no bos": {"model_type": "unigram", "vocab_size": 300, "bos_id": -1, "eos_id": 1, "unk_id": 2, "pad_id": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """A function from a recipe's name to (the library's processor, our tokenizer)."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    corpus = folder / "corpus.txt"
    alice = (data_dir / "corpora" / "alice29.txt").read_text()[:25_000]
    mixed = (data_dir / "gguf" / "malformed-1" / "mixed-corpus.txt").read_text(encoding="utf-8")
    corpus.write_text(alice + mixed, encoding="utf-8")
    made: dict[str, tuple[object, object]] = {}

    def train(name: str, **more: object) -> tuple[object, object]:
        if name not in made:
            prefix = str(folder / str(len(made)))
            sentencepiece.SentencePieceTrainer.train(
                input=str(corpus),
                model_prefix=prefix,
                minloglevel=2,
                character_coverage=0.995,
                hard_vocab_limit=False,
                num_threads=1,
                **{**RECIPES[name], **more},
            )
            path = f"{prefix}.model"
            made[name] = (sentencepiece.SentencePieceProcessor(model_file=path), load(path))
        return made[name]

    return train


@pytest.mark.parametrize("name", RECIPES)
def test_trained_models_cut_texts_as_the_library_does(data_dir: Path, trained, name: str) -> None:
    theirs, ours = trained(name)
    assert ours.n_tokens == theirs.get_piece_size()
    for text in mixed_texts(data_dir):
        if "\0" not in text:
            assert ours.encode(text, add_special=False) == theirs.encode(text), text


@pytest.mark.parametrize("name", ["unigram with bytes", "bpe with bytes, as it is"])
def test_trained_models_write_texts_as_the_library_does(data_dir: Path, trained, name: str) -> None:
    theirs, ours = trained(name)
    for text in mixed_texts(data_dir):
        ids = ours.encode(text)
        assert ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize(
    "name", ["unigram", "unigram with bytes", "bpe", "bpe with bytes, as it is", "bpe with symbols"]
)
def test_any_unicode_is_cut_as_the_library_does(trained, name: str) -> None:
    theirs, ours = trained(name)

    @given(text=unicode_text.filter(lambda text: "\0" not in text))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def check(text: str) -> None:
        assert ours.encode(text, add_special=False) == theirs.encode(text)

    check()


def test_llama_2_cuts_any_unicode_as_the_library_does(data_dir: Path) -> None:
    path = str(data_dir / "tokenizers" / "sentencepiece" / "llama2-tokenizer.model")
    theirs, ours = sentencepiece.SentencePieceProcessor(model_file=path), load(path)

    @given(text=unicode_text.filter(lambda text: "\0" not in text))
    @settings(max_examples=120, deadline=None, derandomize=True)
    def check(text: str) -> None:
        ids = theirs.encode(text)
        assert ours.encode(text, add_special=False) == ids
        assert ours.decode(ids) == theirs.decode(ids)

    check()
    prose = (data_dir / "corpora" / "pride_and_prejudice.txt").read_text()[:40_000]
    assert ours.encode(prose, add_special=False) == theirs.encode(prose)


def test_a_unigram_vocabulary_in_gguf_metadata_cuts_texts_alike(data_dir: Path, trained) -> None:
    theirs, _ = trained("unigram as it is")
    tokens = range(theirs.get_piece_size())
    types = [2 if theirs.is_unknown(token) else 3 if theirs.is_control(token) else 1 for token in tokens]
    values = metadata(
        [theirs.id_to_piece(token) for token in tokens],
        "t5",
        types=types,
        scores=[theirs.get_score(token) for token in tokens],
        unknown_token_id=0,
        eos_token_id=2,
        add_space_prefix=True,
        remove_extra_whitespaces=True,
    )
    ours = from_metadata("unigram", values)
    for text in mixed_texts(data_dir):
        if "\0" not in text:
            assert ours.encode(text, add_special=False) == theirs.encode(text), text
    assert ours.encode("Alice") == [*theirs.encode("Alice"), 2]
    assert ours.decode(ours.encode("  Alice  was ")) == "Alice was"


def test_eos_ends_texts_where_there_is_no_bos(trained) -> None:
    theirs, ours = trained("no bos")
    assert ours.encode("Alice") == [*theirs.encode("Alice"), 1]
    assert (ours.bos_id, ours.eos_id, ours.pad_id, ours.unknown_id) == (None, 1, 0, 2)


def test_long_texts_are_summed_as_the_library_sums_them(data_dir: Path, trained) -> None:
    theirs, ours = trained("unigram")
    prose = (data_dir / "corpora" / "pride_and_prejudice.txt").read_text()[:150_000]
    assert ours.encode(prose, add_special=False) == theirs.encode(prose)


def test_models_that_we_do_not_have_are_refused_by_name(data_dir: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text((data_dir / "corpora" / "alice29.txt").read_text()[:20_000])
    options = {"input": str(corpus), "minloglevel": 2, "hard_vocab_limit": False, "num_threads": 1}
    train = sentencepiece.SentencePieceTrainer.train
    train(model_prefix=str(tmp_path / "word"), model_type="word", vocab_size=200, **options)
    with pytest.raises(UnsupportedError, match="a word model is not supported; supported: unigram and BPE"):
        load(tmp_path / "word.model")
    train(model_prefix=str(tmp_path / "suffix"), treat_whitespace_as_suffix=True, vocab_size=200, **options)
    with pytest.raises(UnsupportedError, match="white space as a suffix"):
        load(tmp_path / "suffix.model")
    train(model_prefix=str(tmp_path / "raw"), vocab_size=200, **options)
    whole = (tmp_path / "raw.model").read_bytes()
    for size in range(1, len(whole), 9973):
        (tmp_path / "cut.model").write_bytes(whole[:size])
        try:
            load(tmp_path / "cut.model")
        except (FormatError, UnsupportedError):
            continue


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\xff\xff\xff\xff\x0f", "field 1 has 4294967295 bytes, 0 are left"),
        (b"\x0a" + b"\xff" * 11, "a number is longer than 10 bytes"),
        (b"\x0a", "the file ends inside a number"),
        (b"\x0b\x00", "a field of wire type 3"),
        (b"\x02\x00", "field 0 has 0 bytes"),
        (b"\x0a\x03\x0a\x01a" + b"\x12\x03\xc8\x02\x09", "the bos id is 9, ids are 0 to 0"),
        (b"\x12\x02\x18\x02", "the vocabulary has 0 tokens"),
    ],
)
def test_broken_messages_are_refused_with_their_place(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "broken.model"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "declares 0 bytes of nodes"),
        (b"\x05\0\0\0" + b"x" * 20, "declares 5 bytes of nodes"),
        (b"\x04\0\0\0" + b"\0\0\0\0" + b"x", "the last replacement of the charsmap has no end"),
    ],
)
def test_a_charsmap_whose_sizes_do_not_fit_is_refused(blob: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        Charsmap("f", blob)


def test_a_charsmap_that_leads_out_of_itself_is_refused_when_it_is_used() -> None:
    beyond = Charsmap("f", b"\x04\0\0\0" + (0x7FFFFC00).to_bytes(4, "little") + b"\0")
    with pytest.raises(FormatError, match="leads beyond its 1 nodes"):
        beyond.find(b"a", 0)
