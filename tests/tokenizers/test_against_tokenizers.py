"""The answers of Hugging Face's tokenizers library, for each kind of tokenizer.json that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from vocabularies import mixed_texts, unicode_text

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.tokenizers import load
from realizar_lambda.tokenizers.tokenizer import Tokenizer

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import AddedToken, Regex, decoders, models, normalizers, processors, trainers  # noqa: E402
from tokenizers import pre_tokenizers as pre  # noqa: E402

LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{LETTERS}|\p{{N}}{{1,3}}|{REST}"
QWEN2 = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{LETTERS}|\p{{N}}|{REST}"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+")
AS_BYTES = pre.ByteLevel(add_prefix_space=False, use_regex=False)
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTE_TOKENS = [f"<0x{value:02X}>" for value in range(256)]


def isolated(*patterns: str):
    return [pre.Split(Regex(pattern), "isolated") for pattern in patterns]


BYTE_LEVEL = {
    "gpt-2": {"pre_tokenizer": pre.ByteLevel(add_prefix_space=False)},
    "with a space in front": {"pre_tokenizer": pre.ByteLevel(add_prefix_space=True)},
    "llama-3": {"pre_tokenizer": pre.Sequence([*isolated(LLAMA3), AS_BYTES]), "ignore_merges": True},
    "qwen2": {"pre_tokenizer": pre.Sequence([*isolated(QWEN2), AS_BYTES]), "normalizer": normalizers.NFC()},
    "gpt-4o": {"pre_tokenizer": pre.Sequence([pre.Split(Regex(GPT4O), "removed", invert=True), AS_BYTES])},
    "starcoder": {
        "pre_tokenizer": pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    },
    "falcon": {
        "pre_tokenizer": pre.Sequence(
            [pre.Punctuation("contiguous"), pre.ByteLevel(add_prefix_space=False), pre.Digits(), *isolated("[0-9]{3}")]
        )
    },
    "deepseek": {"pre_tokenizer": pre.Sequence([*isolated(*DEEPSEEK), AS_BYTES])},
    "normalised": {
        "pre_tokenizer": pre.ByteLevel(add_prefix_space=False),
        "normalizer": normalizers.Sequence([
            normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace("l", "L"),
            normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip(), normalizers.Prepend("x"),
        ]),
    },
}  # fmt: skip


def trained(kind: str, corpus: list[str]):
    """A small tokenizer of the library, trained on `corpus`."""
    made, trainer, parts = {
        "wordpiece": (
            models.WordPiece(unk_token="[UNK]"),
            trainers.WordPieceTrainer(vocab_size=800, special_tokens=BERT_SPECIALS, show_progress=False),
            {
                "normalizer": normalizers.BertNormalizer(lowercase=True),
                "pre_tokenizer": pre.BertPreTokenizer(),
                "decoder": decoders.WordPiece(),
            },
        ),
        "wordpiece with case": (
            models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=8),
            trainers.WordPieceTrainer(vocab_size=800, special_tokens=BERT_SPECIALS, show_progress=False),
            {
                "normalizer": normalizers.BertNormalizer(lowercase=False, strip_accents=False),
                "pre_tokenizer": pre.BertPreTokenizer(),
                "decoder": decoders.WordPiece(),
            },
        ),
        "unigram": (
            models.Unigram(),
            trainers.UnigramTrainer(
                vocab_size=500, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
            ),
            {
                "normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]),
                "pre_tokenizer": pre.Metaspace(),
                "decoder": decoders.Metaspace(),
            },
        ),
        "unigram of words": (
            models.Unigram(),
            trainers.UnigramTrainer(
                vocab_size=500, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
            ),
            {"pre_tokenizer": pre.Sequence([pre.WhitespaceSplit(), pre.Metaspace()]), "decoder": decoders.Metaspace()},
        ),
        "llama-2": (
            models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
            trainers.BpeTrainer(
                vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *BYTE_TOKENS], show_progress=False
            ),
            {
                "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
                "decoder": decoders.Sequence(
                    [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
                ),
            },
        ),
        "marked words": (
            models.BPE(unk_token="<unk>", fuse_unk=True),
            trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>"], show_progress=False),
            {
                "pre_tokenizer": pre.Metaspace(prepend_scheme="first"),
                "decoder": decoders.Metaspace(prepend_scheme="first"),
            },
        ),
    }[kind]
    found = tokenizers.Tokenizer(made)
    for name, part in parts.items():
        setattr(found, name, part)
    found.train_from_iterator(corpus, trainer)
    if kind == "marked words":
        found.add_tokens([AddedToken("Alice", single_word=True), AddedToken("ing", lstrip=True, rstrip=True)])
    if kind == "wordpiece":
        found.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return found


TRAINED = ("wordpiece", "wordpiece with case", "unigram", "unigram of words", "llama-2", "marked words")


@pytest.fixture(scope="module")
def pairs(data_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """A function from a name to (the library's tokenizer, ours from the file that it writes)."""
    folder = tmp_path_factory.mktemp("tokenizers")
    gpt2 = data_dir / "tokenizers" / "gpt2"
    alice = (data_dir / "corpora" / "alice29.txt").read_text()[:40_000]
    mixed = (data_dir / "gguf" / "malformed-1" / "mixed-corpus.txt").read_text(encoding="utf-8")
    made: dict[str, tuple[object, Tokenizer]] = {}

    def make(name: str) -> tuple[object, Tokenizer]:
        if name not in made:
            if name in BYTE_LEVEL:
                parts = dict(BYTE_LEVEL[name])
                options = {"ignore_merges": parts.pop("ignore_merges", False)}
                model = models.BPE.from_file(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe"), **options)
                theirs = tokenizers.Tokenizer(model)
                theirs.decoder = decoders.ByteLevel()
                for part, value in parts.items():
                    setattr(theirs, part, value)
                theirs.add_special_tokens([AddedToken("<|endoftext|>")])
            else:
                theirs = trained(name, [*alice.splitlines(), *mixed.splitlines()])
            path = folder / f"{len(made)}" / "tokenizer.json"
            path.parent.mkdir()
            theirs.save(str(path))
            made[name] = (theirs, load(path.parent))
        return made[name]

    return make


# Of the libraries' Unicode tables BERT's is the oldest: text for it keeps to characters that all of them know.
OLD = "".join(chr(point) for point in range(0x20, 0x530))


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *TRAINED])
def test_texts_of_many_scripts_have_the_librarys_ids_and_come_back_as_there(data_dir: Path, pairs, name: str) -> None:
    theirs, ours = pairs(name)
    assert ours.n_tokens == theirs.get_vocab_size()
    for text in mixed_texts(data_dir):
        ids = theirs.encode(text).ids
        assert ours.encode(text, parse_special=True) == ids, text
        assert ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("name", [*BYTE_LEVEL, *TRAINED[2:]])
def test_any_unicode_has_the_librarys_ids(pairs, name: str) -> None:
    theirs, ours = pairs(name)

    @given(text=unicode_text)
    @settings(max_examples=50, deadline=None, derandomize=True)
    def check(text: str) -> None:
        assert ours.encode(text, parse_special=True) == theirs.encode(text).ids

    check()


def test_special_tokens_in_text_are_found_as_the_library_finds_them(pairs) -> None:
    theirs, ours = pairs("gpt-2")
    text = "a<|endoftext|>b <|endoftext|"
    assert ours.encode(text, parse_special=True) == theirs.encode(text).ids
    assert ours.stop_ids == {50256}
    theirs, ours = pairs("marked words")
    for text in ("Alice Alices going  ing  x", "ingAlice <s>ing <s>"):
        assert ours.encode(text, parse_special=True) == theirs.encode(text).ids


def test_the_config_beside_names_bos_eos_and_the_template(data_dir: Path, tmp_path: Path) -> None:
    gpt2 = data_dir / "tokenizers" / "gpt2"
    theirs = tokenizers.Tokenizer(models.BPE.from_file(str(gpt2 / "encoder.json"), str(gpt2 / "vocab.bpe")))
    theirs.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
    theirs.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    theirs.post_processor = processors.RobertaProcessing(("<|im_end|>", 50258), ("<|im_start|>", 50257))
    theirs.save(str(tmp_path / "tokenizer.json"))
    names = {"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}, "chat_template": "{{ x }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))
    ours = load(tmp_path)
    assert (ours.bos_id, ours.eos_id, ours.chat_template) == (50257, 50258, "{{ x }}")
    assert ours.stop_ids == {50256, 50258}
    assert ours.encode("a") == theirs.encode("a").ids == [50257, 64, 50258]


MINIMAL = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "model is None, it must be an object"),
        ({"model": {"type": "BPE", "vocab": [], "merges": []}}, "vocab is []"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": 3}}, "merges is 3"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}, "a merge is ['a']"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}, "merge 0 is b'a b'"),
        ({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}, "both have id 0"),
        ({"model": {**MINIMAL["model"], "unk_token": "?"}}, "unk_token is '?', which is no token"),
        ({"added_tokens": {}}, None),
        ({"added_tokens": 3}, "added_tokens is 3"),
        ({"added_tokens": [{"id": "1", "content": "x"}]}, "an added token is"),
        ({"added_tokens": [{"id": 1, "content": "x"}]}, "both have id 1"),
        ({"normalizer": 3}, "a normalizer is 3"),
        ({"normalizer": {"type": "Prepend"}}, "prepend of a Prepend is None"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "a charsmap of 3 bytes"),
        ({"pre_tokenizer": []}, "a pre-tokenizer is []"),
        ({"pre_tokenizer": {"type": "Split"}}, "the pattern of a Split is None"),
        ({"post_processor": {"type": "BertProcessing", "cls": ["q", 1], "sep": ["a", 0]}}, "not all tokens"),
        ({"model": {"type": "Unigram", "vocab": [["a", "x"]]}}, "vocab of a Unigram model"),
        ({"model": {"type": "Unigram", "vocab": [["a", -1.0]], "unk_id": 7}}, "unk_id is 7, ids are 0 to 0"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(tmp_path: Path, change: dict[str, object], message: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**MINIMAL, **change}))
    if message is None:
        assert load(path).encode("ab") == [2]
        return
    with pytest.raises(FormatError) as caught:
        load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"type": "WordLevel", "vocab": {}}}, "tokenizer model 'WordLevel'"),
        ({"model": {**MINIMAL["model"], "dropout": 0.1}}, "BPE with dropout 0.1"),
        ({"model": {**MINIMAL["model"], "end_of_word_suffix": "</w>"}}, "end_of_word_suffix '</w>'"),
        ({"normalizer": {"type": "Nmt"}}, "normalizer 'Nmt'"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a)"}, "content": ""}}, "replacing {'Regex': '(a)'}"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer 'Whitespace'"),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\w+"}, "behavior": "Isolated"}},
            r"\w at character",
        ),
        (
            {"pre_tokenizer": {"type": "Split", "pattern": {"String": "ab"}, "behavior": "MergedWithNext"}},
            "a Split with",
        ),
        ({"pre_tokenizer": {"type": "WhitespaceSplit"}}, "WhitespaceSplit alone"),
        ({"pre_tokenizer": {"type": "Metaspace", "replacement": "_"}}, "Metaspace with '_'"),
        ({"post_processor": {"type": "Other"}}, "post-processor 'Other'"),
        ({"model": {"type": "WordPiece", "vocab": {"[UNK]": 0}}}, "WordPiece with other than BERT's words"),
    ],
)
def test_parts_that_we_do_not_have_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**MINIMAL, **change}))
    with pytest.raises(UnsupportedError) as caught:
        load(path)
    assert message in str(caught.value)
    assert "supported: " in str(caught.value)
