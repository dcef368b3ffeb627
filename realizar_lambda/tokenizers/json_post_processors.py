"""The post-processors of a Hugging Face tokenizer.json: what they put around a text. It does not know the text."""

from __future__ import annotations

from realizar_lambda.errors import FormatError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = ("BertProcessing", "RobertaProcessing")
KINDS = ("ByteLevel", "Sequence", "TemplateProcessing", *PAIRS)


def around(path: str, config: object, find: Callable[[str], int | None]) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts before and after a text; `find` gives the id of a token by its name.

    Raises FormatError, UnsupportedError for kinds that we do not have.
    """
    if config is None:
        return [], []
    kind = config.get("type") if isinstance(config, dict) else None
    if not isinstance(config, dict) or kind not in KINDS:
        raise UnsupportedError(f"{path}: post-processor {kind!r:.60}", KINDS)
    if kind == "Sequence":
        prefix: list[int] = []
        suffix: list[int] = []
        for item in _list(path, config, "processors"):
            inner = around(path, item, find)
            prefix, suffix = inner[0] + prefix, suffix + inner[1]
        return prefix, suffix
    before: list[object] = []
    after: list[object] = []
    if kind in PAIRS:
        before, after = _list(path, config, "cls")[:1], _list(path, config, "sep")[:1]
    elif kind == "TemplateProcessing":
        names = before
        for item in _list(path, config, "single"):
            special = item.get("SpecialToken") if isinstance(item, dict) else None
            if isinstance(special, dict):
                names.append(special.get("id"))
            else:
                names = after
    found = [[find(name) if isinstance(name, str) else None for name in names] for names in (before, after)]
    if any(token is None for tokens in found for token in tokens):
        raise FormatError(path, None, f"the post-processor names {before + after!r:.80}, which are not all tokens")
    return found[0], found[1]  # type: ignore[return-value]


def _list(path: str, config: dict[str, object], key: str) -> list[object]:
    value = config.get(key)
    if not isinstance(value, list):
        raise FormatError(path, None, f"{key} of a {config.get('type')} is {value!r:.60}, it must be a list")
    return value
