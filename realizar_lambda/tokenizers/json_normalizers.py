"""The normalizers of a Hugging Face tokenizer.json, as functions from text to text. It does not know tokens."""

from __future__ import annotations

import re

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.tokenizers.special_tokens import SPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Normalize = Callable[[str], str]
    Config = Mapping[str, object]

_PLAIN_PATTERN = re.compile(r"[^\\()\[\].^$|]+")


def normalizer(path: str, config: object) -> Normalize | None:
    """The function that a normalizer's JSON describes; None for null, and where there is nothing to do.

    Raises FormatError, UnsupportedError for kinds that we do not have.
    """
    if config is None:
        return None
    if not isinstance(config, dict):
        raise FormatError(path, None, f"a normalizer is {config!r:.60}, it must be an object")
    make = KINDS.get(str(config.get("type")))
    if make is None:
        raise UnsupportedError(f"{path}: normalizer {config.get('type')!r:.60}", KINDS)
    return make(path, config)


def _sequence(path: str, config: Config) -> Normalize | None:
    inner = config.get("normalizers")
    if not isinstance(inner, list):
        raise FormatError(path, None, "a Sequence normalizer has no list of normalizers")
    steps = [step for step in (normalizer(path, item) for item in inner) if step is not None]
    if not steps:
        return None

    def run(text: str) -> str:
        for step in steps:
            text = step(text)
        return text

    return run


def _form(name: str) -> Callable[[str, Config], Normalize]:
    def make(_path: str, _config: Config) -> Normalize:
        def run(text: str) -> str:
            if text.isascii():
                return text
            from unicodedata import normalize

            return normalize(name, text)  # type: ignore[arg-type]

        return run

    return make


def _lower(_path: str, _config: Config) -> Normalize:
    return lambda text: text.lower() if text.isascii() else "".join(map(str.lower, text))


def _strip_accents(_path: str, _config: Config) -> Normalize:
    def run(text: str) -> str:
        from realizar_lambda.tokenizers.unicode_classes import CATEGORIES, category

        marks = {CATEGORIES[name] for name in ("Mn", "Mc", "Me")}
        return text if text.isascii() else "".join(c for c in text if category(ord(c)) not in marks)

    return run


def _strip(_path: str, config: Config) -> Normalize:
    left, right = config.get("strip_left"), config.get("strip_right")

    def run(text: str) -> str:
        text = text.lstrip(SPACES) if left else text
        return text.rstrip(SPACES) if right else text

    return run


def _prepend(path: str, config: Config) -> Normalize:
    before = _text(path, config, "prepend")
    return lambda text: before + text if text else text


def _replace(path: str, config: Config) -> Normalize:
    content = _text(path, config, "content")
    pattern = config.get("pattern")
    kind, text = next(iter(pattern.items()), ("", "")) if isinstance(pattern, dict) else ("", "")
    if kind == "String" and isinstance(text, str) and text:
        return lambda whole: whole.replace(text, content)
    if kind == "Regex" and isinstance(text, str) and _PLAIN_PATTERN.fullmatch(text):
        expression = re.compile(text)
        return lambda whole: expression.sub(lambda _: content, whole)
    raise UnsupportedError(f"{path}: replacing {pattern!r:.60}", "strings, and expressions without classes or groups")


def _precompiled(path: str, config: Config) -> Normalize | None:
    import binascii

    from realizar_lambda.tokenizers.charsmap import Charsmap, Normalizer

    encoded = config.get("precompiled_charsmap")
    if not encoded:
        return None
    try:
        blob = binascii.a2b_base64(str(encoded))
    except binascii.Error:
        raise FormatError(path, None, "precompiled_charsmap is not base64") from None
    return Normalizer(Charsmap(path, blob), removes_extra_spaces=False, marks_spaces=False)


def _text(path: str, config: Config, key: str) -> str:
    value = config.get(key)
    if not isinstance(value, str):
        raise FormatError(path, None, f"{key} of a {config.get('type')} is {value!r:.60}, it must be a string")
    return value


KINDS: dict[str, Callable[[str, Config], Normalize | None]] = {
    "Sequence": _sequence,
    "NFC": _form("NFC"),
    "NFD": _form("NFD"),
    "NFKC": _form("NFKC"),
    "NFKD": _form("NFKD"),
    "Lowercase": _lower,
    "StripAccents": _strip_accents,
    "Strip": _strip,
    "Prepend": _prepend,
    "Replace": _replace,
    "Precompiled": _precompiled,
}
"""Type of a normalizer -> what makes its function. BertNormalizer belongs to WordPiece."""
