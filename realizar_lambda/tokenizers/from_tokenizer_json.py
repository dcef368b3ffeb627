"""A tokenizer out of a Hugging Face tokenizer.json, doing what the tokenizers library does with it."""

from __future__ import annotations

import os

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.formats.model_file import map_file
from realizar_lambda.tokenizers.json_normalizers import normalizer
from realizar_lambda.tokenizers.json_post_processors import around
from realizar_lambda.tokenizers.json_splitters import Splitting, splitting
from realizar_lambda.tokenizers.models import ByteLevel, SentencePiece, Unigram, WordPiece
from realizar_lambda.tokenizers.pretokenizer import PreTokenizer
from realizar_lambda.tokenizers.special_tokens import SPACES, SpecialToken, SpecialTokens
from realizar_lambda.tokenizers.stop_tokens import END_OF_TURN, first_of, stop_ids
from realizar_lambda.tokenizers.strings import PackedStrings, strings_by_id
from realizar_lambda.tokenizers.tokenizer import Tokenizer
from realizar_lambda.tokenizers.vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realizar_lambda.tokenizers.tokenizer import Model

    Config = Mapping[str, object]

END_NAMES = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>")
UNKNOWN_PENALTY = 10.0
MAX_WEIGHT = 1e30
MARK = "\0"  # begins the pieces that begin words; words never hold it


def from_file(path: str) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`; `tokenizer_config.json` beside it names BOS, EOS and the chat template.

    Raises FormatError, UnsupportedError for parts that we do not have.
    """
    config = parse_object(path, 0, bytes(map_file(path)))
    beside = os.path.join(os.path.dirname(path), "tokenizer_config.json")
    names: Config = parse_object(beside, 0, bytes(map_file(beside))) if os.path.exists(beside) else {}
    model = config.get("model")
    if not isinstance(model, dict):
        raise FormatError(path, None, f"model is {model!r:.60}, it must be an object")
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram" if "unk_id" in model else "WordPiece")
    build = KINDS.get(str(kind))
    if build is None:
        raise UnsupportedError(f"{path}: tokenizer model {kind!r:.60}", KINDS)
    added = _added_tokens(path, config)
    vocabulary, encoder = build(path, config, model, added)
    return _finished(path, config, names, vocabulary, encoder, added)


def _added_tokens(path: str, config: Config) -> list[dict[str, object]]:
    added = config.get("added_tokens") or []
    if not isinstance(added, list):
        raise FormatError(path, None, f"added_tokens is {added!r:.60}, it must be a list")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str) or type(token.get("id")) is not int:
            raise FormatError(path, None, f"an added token is {token!r:.80}, it must have an id and a content")
    return added


def _vocabulary(path: str, ids: Mapping[str, object], added: list[dict[str, object]], **kind: bool) -> Vocabulary:
    """All tokens, the added ones typed."""
    together = {**ids, **{str(token["content"]): token["id"] for token in added}}
    strings = strings_by_id(path, together)
    vocabulary = Vocabulary(path, strings, None, **kind)
    for token in added:
        vocabulary.set_types((int(str(token["id"])),), CONTROL if token.get("special") else USER_DEFINED)
    return vocabulary


def _ids(path: str, model: Config) -> Mapping[str, object]:
    ids = model.get("vocab")
    if not isinstance(ids, dict):
        raise FormatError(path, None, f"vocab is {ids!r:.60}, it must be an object")
    return ids


def _merges(path: str, model: Config) -> PackedStrings:
    merges = model.get("merges")
    if not isinstance(merges, list):
        raise FormatError(path, None, f"merges is {merges!r:.60}, it must be a list")
    texts = []
    for merge in merges:
        if isinstance(merge, list) and len(merge) == 2 and isinstance(merge[0], str) and isinstance(merge[1], str):
            if " " in merge[0][1:]:
                raise UnsupportedError(f"{path}: the merge {merge!r:.60}", "left parts without spaces")
            merge = f"{merge[0]} {merge[1]}"
        if not isinstance(merge, str):
            raise FormatError(path, None, f"a merge is {merge!r:.60}, it must be two tokens")
        texts.append(merge.encode())
    return PackedStrings.from_bytes(texts)


def _bpe(path: str, config: Config, model: Config, added: list[dict[str, object]]) -> tuple[Vocabulary, Model]:
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise UnsupportedError(f"{path}: BPE with {key} {model[key]!r:.40}", "BPE without it")
    split = splitting(path, config.get("pre_tokenizer"))
    vocabulary = _vocabulary(path, _ids(path, model), added, is_byte_level=split.is_byte_level)
    vocabulary.use_merges(_merges(path, model))
    _use_unknown(path, vocabulary, model.get("unk_token"))
    if split.stages:
        vocabulary.use_splitter(PreTokenizer(split.stages))
    flags = ["ignores_merges"] if model.get("ignore_merges") else []
    if split.is_byte_level:
        vocabulary.use_byte_tokens(vocabulary.find(bytes((value,))) for value in range(256))
        vocabulary.use_flags(*flags, *(() if vocabulary.unknown is not None else ("skips_unknown",)))
        return vocabulary, ByteLevel(
            vocabulary, normalize=normalizer(path, config.get("normalizer")), adds_space=split.adds_space
        )
    flags.append("by_character")
    if model.get("fuse_unk"):
        flags.append("fuses_unknown")
    if model.get("byte_fallback"):
        _use_bytes(vocabulary)
    vocabulary.use_flags(*flags)
    return vocabulary, _marked(path, config, split, lambda **options: SentencePiece(vocabulary, **options))


def _unigram(path: str, config: Config, model: Config, added: list[dict[str, object]]) -> tuple[Vocabulary, Model]:
    entries = model.get("vocab")
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise FormatError(path, None, "vocab of a Unigram model must be a list of [token, number]")
    ids = {entry[0]: number for number, entry in enumerate(entries)}
    if len(ids) != len(entries):
        twice = next(entry[0] for number, entry in enumerate(entries) if ids[entry[0]] != number)
        raise FormatError(path, None, f"the token {twice!r:.60} is in the vocabulary twice")
    vocabulary = _vocabulary(path, ids, added)
    weights = [float(entry[1]) for entry in entries] + [float("-inf")] * (len(vocabulary) - len(entries))
    unknown = model.get("unk_id")
    if unknown is not None:
        if type(unknown) is not int or not 0 <= unknown < len(entries):
            raise FormatError(path, None, f"unk_id is {unknown!r:.40}, ids are 0 to {len(entries) - 1}")
        vocabulary.use_unknown(unknown)
    lowest = min((weight for weight in weights if weight != float("-inf")), default=0.0)
    if unknown is not None:
        weights[unknown] = float("-inf")
    vocabulary.use_weights(weights)
    flags = ["fuses_unknown"]
    if model.get("byte_fallback"):
        _use_bytes(vocabulary)
        flags.append("by_character")
    vocabulary.use_flags(*flags)
    split = splitting(path, config.get("pre_tokenizer"))
    if split.stages:
        vocabulary.use_splitter(PreTokenizer(split.stages))
    unknown_weight = lowest - UNKNOWN_PENALTY
    return vocabulary, _marked(
        path, config, split, lambda **options: Unigram(vocabulary, unknown_weight=unknown_weight, **options)
    )


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    text, weight = entry
    return isinstance(text, str) and type(weight) in (int, float) and abs(weight) < MAX_WEIGHT


def _marked(path: str, config: Config, split: Splitting, make: Callable[..., Model]) -> Model:
    """A model in which spaces are U+2581, put in by a Metaspace or by the normalizer."""
    if split.is_bert:
        raise UnsupportedError(f"{path}: BERT's words for this model", "WordPiece")
    first = normalizer(path, config.get("normalizer"))

    def normalize(text: str) -> str:
        text = text if first is None else first(text)
        if split.drops_spaces:
            words = filter(None, text.translate(_TO_SPACES).split(" "))
            return "".join(word if word.startswith("▁") else f"▁{word}" for word in words)
        return text.replace(" ", "▁") if split.marks_spaces else text

    return make(
        prefix=split.prefix,
        prefix_unless_marked=True,
        strips_first=_strips_first(config.get("decoder")),
        normalize=normalize,
    )


_TO_SPACES = dict.fromkeys(map(ord, SPACES), " ")


def _strips_first(decoder: object) -> bool:
    """Whether decoding drops the space that a text begins with."""
    if not isinstance(decoder, dict):
        return False
    if decoder.get("type") == "Sequence":
        inner = decoder.get("decoders")
        return isinstance(inner, list) and any(_strips_first(item) for item in inner)
    if decoder.get("type") == "Metaspace":
        return decoder.get("prepend_scheme", "always") != "never" and decoder.get("add_prefix_space", True) is not False
    return decoder.get("type") == "Strip" and decoder.get("content") == " " and decoder.get("start") == 1


def _word_piece(path: str, config: Config, model: Config, added: list[dict[str, object]]) -> tuple[Vocabulary, Model]:
    from realizar_lambda.tokenizers.words import WordSplitter

    options = config.get("normalizer")
    split = splitting(path, config.get("pre_tokenizer"))
    if not isinstance(options, dict) or options.get("type") != "BertNormalizer" or not split.is_bert:
        raise UnsupportedError(f"{path}: WordPiece with other than BERT's words", "BertNormalizer, BertPreTokenizer")
    if not options.get("clean_text", True):
        raise UnsupportedError(f"{path}: WordPiece without clean_text", "clean_text")
    prefix = str(model.get("continuing_subword_prefix", "##"))
    written = {str(token["content"]) for token in added}
    ids = {
        text if text in written else text.removeprefix(prefix) if text.startswith(prefix) else MARK + text: token
        for text, token in _ids(path, model).items()
    }
    vocabulary = _vocabulary(path, ids, added)
    unknown = str(model.get("unk_token", "[UNK]"))
    _use_unknown(path, vocabulary, unknown if unknown in written else MARK + unknown)
    longest = model.get("max_input_chars_per_word", 100)
    if type(longest) is not int or not 0 < longest < 1 << 30:
        raise FormatError(path, None, f"max_input_chars_per_word is {longest!r:.40}, it must be positive")
    is_lower = bool(options.get("lowercase", True))
    strips_accents = options.get("strip_accents")
    splitter = WordSplitter(
        is_lower=is_lower,
        strips_accents=is_lower if strips_accents is None else bool(strips_accents),
        decomposes_fully=True,
        is_chinese_alone=bool(options.get("handle_chinese_chars", True)),
    )
    return vocabulary, WordPiece(vocabulary, splitter, mark=MARK, max_characters=longest)


def _use_unknown(path: str, vocabulary: Vocabulary, name: object) -> None:
    if name is None:
        return
    token = vocabulary.find_written(name) if isinstance(name, str) else -1
    if token < 0:
        raise FormatError(path, None, f"unk_token is {name!r:.60}, which is no token")
    vocabulary.use_unknown(token)
    if vocabulary.types[token] == CONTROL:
        vocabulary.set_types((token,), UNKNOWN)


def _use_bytes(vocabulary: Vocabulary) -> None:
    tokens = [vocabulary.find(b"<0x%02X>" % value) for value in range(256)]
    vocabulary.use_byte_tokens(tokens)
    vocabulary.set_types((token for token in tokens if token >= 0 and vocabulary.types[token] == NORMAL), BYTE)


def _finished(
    path: str,
    config: Config,
    names: Config,
    vocabulary: Vocabulary,
    model: Model,
    added: list[dict[str, object]],
) -> Tokenizer:
    specials = [
        SpecialToken(
            token["id"],
            token["content"],
            not token.get("special"),
            SPACES if token.get("lstrip") else "",
            SPACES if token.get("rstrip") else "",
            bool(token.get("single_word")),
        )
        for token in added
    ]

    def find(name: str) -> int | None:
        found = vocabulary.find_written(name)
        return found if found >= 0 else None

    def named(key: str) -> int | None:
        value = names.get(key)
        text = value.get("content") if isinstance(value, dict) else value
        return find(text) if isinstance(text, str) else None

    prefix, suffix = around(path, config.get("post_processor"), find)
    eos = named("eos_token")
    ids = {
        "bos": named("bos_token") if named("bos_token") is not None else (prefix[0] if prefix else None),
        "eos": eos if eos is not None else first_of(find, END_NAMES),
        "eot": first_of(find, END_OF_TURN),
        "pad": named("pad_token"),
        "unknown": vocabulary.unknown,
    }
    template = names.get("chat_template")
    return Tokenizer(
        vocabulary=vocabulary,
        model=model,
        specials=SpecialTokens(specials),
        ids=ids,
        prefix=prefix,
        suffix=suffix,
        stop_ids=stop_ids(find, (ids["eos"], ids["eot"])),
        chat_template=template if isinstance(template, str) else None,
    )


KINDS = {"BPE": _bpe, "Unigram": _unigram, "WordPiece": _word_piece}
"""Type of a model -> who builds it: the vocabulary and what encodes with it."""
