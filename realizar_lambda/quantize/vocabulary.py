"""The vocabulary of a Hugging Face folder as GGUF's `tokenizer.*` keys; it does not tokenize.

    tokenizer.model             SentencePiece pieces              tokenizer.ggml.model = llama (t5 for unigram)
    tokenizer.json              BPE over bytes, with merges       gpt2
                                BPE with byte fallback            llama; a token's score is minus its merge's rank
    vocab.json, merges.txt      BPE over bytes                    gpt2
    tokenizer_config.json       added tokens, chat template, whether BOS and EOS are added

A matrix may have more rows than there are tokens: the rest become `[PAD id]` tokens of the unused type, as every
id must have a name in GGUF.
"""

from __future__ import annotations

import os

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats.json_text import parse_object
from realizar_lambda.quantize import sentencepiece

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, object]
    Keys = list[tuple[str, object, str]]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

_MAX_FILE_BYTES = 128 << 20
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PRE_TOKENIZERS = {
    ("ByteLevel",): "gpt-2",
    ("Digits", "ByteLevel"): "smollm",
    (_LLAMA3,): "llama-bpe",
    (_LLAMA3.replace("{1,3}", ""),): "qwen2",
}
"""What splits text in a tokenizer.json -> the name that GGUF has for it."""

_SPECIAL_NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


class _Tokens:
    """Tokens by id while they are gathered."""

    def __init__(self, path: str, n_tokens: int) -> None:
        self.path = path
        self.texts: list[str | None] = [None] * n_tokens
        self.types = [UNUSED] * n_tokens
        self.scores = [0.0] * n_tokens
        self.special_ids: dict[str, int] = {}

    def put(self, id: object, text: str, kind: int, score: float = 0.0) -> None:
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id < len(self.texts):
            raise FormatError(
                self.path, None, f"token {text!r:.60} has id {id!r:.20}, ids are 0 to {len(self.texts) - 1}"
            )
        self.texts[id], self.types[id], self.scores[id] = text, kind, score

    def keys(self, model: str) -> Keys:
        texts = [f"[PAD {id}]" if text is None else text for id, text in enumerate(self.texts)]
        return [
            ("tokenizer.ggml.model", model, "string"),
            ("tokenizer.ggml.tokens", texts, "[string]"),
            ("tokenizer.ggml.token_type", self.types, "[i32]"),
        ]


def read_vocabulary(folder: str, config: Json, n_tokens: int, *, pre_tokenizer: str | None = None) -> Keys:
    """`(key, value, GGUF type)` for every key; none where the folder has no vocabulary.

    `config` is config.json, `n_tokens` the rows of the embedding. Raises FormatError for files that break their
    format, UnsupportedError for kinds of tokenizer that GGUF has no name for here.
    """
    settings = _json(folder, "tokenizer_config.json") or {}
    document = _json(folder, "tokenizer.json")
    pieces_path = os.path.join(folder, "tokenizer.model")
    if os.path.exists(pieces_path):
        tokens, keys = _from_pieces(pieces_path, n_tokens)
    elif document is not None:
        tokens, keys = _from_document(os.path.join(folder, "tokenizer.json"), document, n_tokens, pre_tokenizer)
    elif os.path.exists(os.path.join(folder, "vocab.json")):
        tokens, keys = _from_vocab_and_merges(folder, n_tokens, pre_tokenizer)
    else:
        return []
    _add_tokens(tokens, document or {}, settings)
    keys = tokens.keys(str(keys[0][1])) + keys[1:]
    keys += [("tokenizer.ggml.scores", tokens.scores, "[f32]")] if keys[0][1] != "gpt2" else []
    return keys + _special_keys(tokens, config, settings, document or {}) + _template(folder, settings)


def _from_pieces(path: str, n_tokens: int) -> tuple[_Tokens, Keys]:
    pieces = sentencepiece.read(path, _bytes(path))
    tokens = _Tokens(path, n_tokens)
    for id, (text, score, kind) in enumerate(zip(pieces.tokens, pieces.scores, pieces.types, strict=True)):
        tokens.put(id, text, kind, score)
    tokens.special_ids.update(pieces.special_ids)
    keys: Keys = [("tokenizer.ggml.model", "t5" if pieces.is_unigram else "llama", "string")]
    keys.append(("tokenizer.ggml.add_space_prefix", pieces.adds_space, "bool"))
    return tokens, keys


def _from_document(path: str, document: Json, n_tokens: int, pre_tokenizer: str | None) -> tuple[_Tokens, Keys]:
    model = _object(path, document.get("model"), "model")
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedError(f"{path}: a tokenizer of type {model.get('type')!r}", "BPE")
    vocabulary = _object(path, model.get("vocab"), "model.vocab")
    merges = [_merge(path, merge) for merge in _list(path, model.get("merges"))]
    tokens = _Tokens(path, n_tokens)
    if not model.get("byte_fallback"):
        for text, id in vocabulary.items():
            tokens.put(id, text, NORMAL)
        return tokens, _byte_level_keys(merges, pre_tokenizer or _pre_tokenizer(path, document))
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    for text, id in vocabulary.items():
        is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
        kind = BYTE if is_byte else UNKNOWN if text == model.get("unk_token") else NORMAL
        tokens.put(id, text, kind, -float(ranks.get(text, len(merges))))
    return tokens, [
        ("tokenizer.ggml.model", "llama", "string"),
        ("tokenizer.ggml.add_space_prefix", _adds_space(document), "bool"),
    ]


def _from_vocab_and_merges(folder: str, n_tokens: int, pre_tokenizer: str | None) -> tuple[_Tokens, Keys]:
    path = os.path.join(folder, "vocab.json")
    tokens = _Tokens(path, n_tokens)
    for text, id in (_json(folder, "vocab.json") or {}).items():
        tokens.put(id, text, NORMAL)
    merges_path = os.path.join(folder, "merges.txt")
    try:
        lines = _bytes(merges_path).decode("utf-8").split("\n")
    except UnicodeDecodeError as fault:
        raise FormatError(merges_path, fault.start, "the merges are not UTF-8") from None
    merges = [line for line in lines if line and not line.startswith("#version")]
    return tokens, _byte_level_keys(merges, pre_tokenizer or "gpt-2")


def _byte_level_keys(merges: list[str], pre_tokenizer: str) -> Keys:
    return [
        ("tokenizer.ggml.model", "gpt2", "string"),
        ("tokenizer.ggml.pre", pre_tokenizer, "string"),
        ("tokenizer.ggml.merges", merges, "[string]"),
    ]


def _merge(path: str, merge: object) -> str:
    """A merge as "left right"; newer files have it as a list."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
        raise FormatError(path, None, f"a merge must be two tokens, it is {merge!r:.60}")
    return " ".join(parts)


def _pre_tokenizer(path: str, document: Json) -> str:
    """GGUF's name for what splits text in a tokenizer.json."""
    signature: list[object] = []
    for stage in _parts(document.get("pre_tokenizer"), "pretokenizers"):
        kind = stage.get("type")
        if kind == "Split":
            pattern = stage.get("pattern")
            signature.append(pattern.get("Regex") if isinstance(pattern, dict) else None)
        elif kind != "ByteLevel" or stage.get("use_regex", True):
            signature.append(kind)
    name = PRE_TOKENIZERS.get(tuple(map(str, signature)))
    if name is None:
        raise UnsupportedError(
            f"{path}: the pre-tokenizer {signature!r:.200}", f"{', '.join(PRE_TOKENIZERS.values())}; else give its name"
        )
    return name


def _adds_space(document: Json) -> bool:
    """Whether text gets a space before it: a `Prepend` normalizer, or a `Metaspace` that prepends."""
    for key, inner in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        for part in _parts(document.get(key), inner):
            if part.get("type") == "Prepend":
                return True
            if part.get("type") == "Metaspace":
                return (
                    str(part.get("prepend_scheme", "always")) != "never" and part.get("add_prefix_space") is not False
                )
    return False


def _add_tokens(tokens: _Tokens, document: Json, settings: Json) -> None:
    """Added tokens, of tokenizer.json and tokenizer_config.json: special ones are control tokens."""
    decoder = settings.get("added_tokens_decoder")
    added = _objects(document.get("added_tokens"))
    if isinstance(decoder, dict):
        added += [
            {"id": int(id), **entry} for id, entry in decoder.items() if id.isdecimal() and isinstance(entry, dict)
        ]
    for token in added:
        text, id = token.get("content"), token.get("id")
        if isinstance(text, str):
            keeps = isinstance(id, int) and 0 <= id < len(tokens.types) and tokens.types[id] in (UNKNOWN, BYTE)
            if not keeps:
                tokens.put(id, text, CONTROL if token.get("special") else USER_DEFINED, -1000.0)


def _special_keys(tokens: _Tokens, config: Json, settings: Json, document: Json) -> Keys:
    ids = dict(tokens.special_ids)
    by_text = {text: id for id, text in enumerate(tokens.texts) if text is not None}
    for short, name in _SPECIAL_NAMES.items():
        text = settings.get(f"{short}_token")
        text = text.get("content") if isinstance(text, dict) else text
        if isinstance(text, str) and text in by_text:
            ids[name] = by_text[text]
        id = config.get(f"{short}_token_id")
        id = id[0] if isinstance(id, list) and id else id
        if name not in ids and type(id) is int and 0 <= id < len(tokens.texts):
            ids[name] = id
    keys: Keys = [(f"tokenizer.ggml.{name}_token_id", id, "u32") for name, id in ids.items()]
    single = _template_of_one(document)
    for name, end in (("bos", 0), ("eos", -1)):
        adds = settings.get(f"add_{name}_token")
        part = single[end] if single else None
        if not isinstance(adds, bool) and single:
            adds = isinstance(part, dict) and "SpecialToken" in part
        if isinstance(adds, bool):
            keys.append((f"tokenizer.ggml.add_{name}_token", adds, "bool"))
    return keys


def _template_of_one(document: Json) -> list[object]:
    """The parts that a tokenizer.json puts around one text."""
    for part in _parts(document.get("post_processor"), "processors"):
        single = part.get("single")
        if part.get("type") == "TemplateProcessing" and isinstance(single, list):
            return single
    return []


def _template(folder: str, settings: Json) -> Keys:
    """The chat template: a file of its own, else the one in tokenizer_config.json."""
    path = os.path.join(folder, "chat_template.jinja")
    if os.path.exists(path):
        return [("tokenizer.chat_template", _bytes(path).decode("utf-8", "replace"), "string")]
    template = settings.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in _objects(template)}
        template = named.get("default")
    return [("tokenizer.chat_template", template, "string")] if isinstance(template, str) else []


def _parts(outer: object, key: str) -> list[dict[str, object]]:
    """The objects under `key` of a sequence, or the one object that is there instead."""
    return _objects(outer.get(key, [outer])) if isinstance(outer, dict) else []


def _objects(values: object) -> list[dict[str, object]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _json(folder: str, name: str) -> dict[str, object] | None:
    path = os.path.join(folder, name)
    return parse_object(path, 0, _bytes(path)) if os.path.exists(path) else None


def _bytes(path: str) -> bytes:
    n_bytes = os.path.getsize(path)
    if n_bytes > _MAX_FILE_BYTES:
        raise FormatError(path, None, f"the file has {n_bytes} bytes, at most {_MAX_FILE_BYTES} are read")
    with open(path, "rb") as file:
        return file.read()


def _object(path: str, value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise FormatError(path, None, f"{what} must be an object, it is {value!r:.60}")
    return value


def _list(path: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise FormatError(path, None, f"a list was expected, got {value!r:.60}")
    return value
