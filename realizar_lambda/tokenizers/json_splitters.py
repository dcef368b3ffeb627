"""The pre-tokenizers of a Hugging Face tokenizer.json, as stages of ours. It does not know tokens."""

from __future__ import annotations

import re

from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.models import ALWAYS, AT_FIRST, NEVER
from realizar_lambda.tokenizers.pretokenizer import Stage
from realizar_lambda.tokenizers.pretokenizer_table import GPT2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Config = Mapping[str, object]

PUNCTUATION = r"[\p{P}$+<=>\^`|~]"
PREPEND_SCHEMES = {"always": ALWAYS, "first": AT_FIRST, "never": NEVER}


class Splitting(
    namedtuple(
        "Splitting",
        "stages is_byte_level adds_space marks_spaces prefix drops_spaces is_bert",
        defaults=((), False, False, False, NEVER, False, False),
    )
):
    """What a chain of pre-tokenizers does.

    `stages` split; `is_byte_level`: bytes are then written as characters; `adds_space`: a stretch without one in
    front gets one; `marks_spaces`: spaces become U+2581, put before text as `prefix` says; `drops_spaces`: words are
    parted by white space, which is dropped; `is_bert`: BERT's own words.
    """

    __slots__ = ()


def splitting(path: str, config: object) -> Splitting:
    """What a pre-tokenizer's JSON describes. Raises FormatError, UnsupportedError for kinds that we do not have."""
    found = Splitting()
    for item in _flat(path, config):
        add = KINDS.get(str(item.get("type")))
        if add is None:
            raise UnsupportedError(f"{path}: pre-tokenizer {item.get('type')!r:.60}", (*KINDS, "Sequence"))
        before = len(found.stages)
        is_bytewise = found.is_byte_level
        found = add(path, item, found)
        stages = [stage._replace(has_lines=True, is_bytewise=is_bytewise) for stage in found.stages[before:]]
        found = found._replace(stages=(*found.stages[:before], *stages))
    if found.drops_spaces and (not found.marks_spaces or found.prefix != ALWAYS):
        raise UnsupportedError(
            f"{path}: WhitespaceSplit alone", "WhitespaceSplit and a Metaspace that marks every word"
        )
    return found


def _flat(path: str, config: object) -> list[Config]:
    if config is None:
        return []
    if not isinstance(config, dict):
        raise FormatError(path, None, f"a pre-tokenizer is {config!r:.60}, it must be an object")
    if config.get("type") != "Sequence":
        return [config]
    inner = config.get("pretokenizers")
    if not isinstance(inner, list):
        raise FormatError(path, None, "a Sequence pre-tokenizer has no list of pre-tokenizers")
    return [part for item in inner for part in _flat(path, item)]


def _byte_level(path: str, config: Config, found: Splitting) -> Splitting:
    adds_space = bool(config.get("add_prefix_space", True))
    if adds_space and found.stages:
        raise UnsupportedError(f"{path}: a space put before every piece of text", "a space before the whole text")
    stages = found.stages + ((Stage(GPT2),) if config.get("use_regex", True) else ())
    return found._replace(stages=stages, is_byte_level=True, adds_space=adds_space)


def _split(path: str, config: Config, found: Splitting) -> Splitting:
    pattern = config.get("pattern")
    kind, text = next(iter(pattern.items()), ("", "")) if isinstance(pattern, dict) else ("", "")
    behavior, is_inverted = str(config.get("behavior")).lower(), bool(config.get("invert", False))
    if kind not in ("String", "Regex") or not isinstance(text, str) or not text:
        raise FormatError(path, None, f"the pattern of a Split is {pattern!r:.60}")
    source = re.sub(r"([^\w\s])", r"\\\1", text) if kind == "String" else text
    if behavior == "removed" and is_inverted:
        stage = Stage(source, keeps_gaps=False)
    elif behavior == "isolated":
        stage = Stage(source)
    elif behavior == "contiguous" and not is_inverted:
        stage = Stage(f"(?:{source})+")
    elif behavior == "mergedwithprevious" and kind == "String" and len(text) == 1 and not is_inverted:
        stage = Stage(f"[^{source}]*{source}|[^{source}]+")
    elif behavior == "mergedwithnext" and kind == "String" and len(text) == 1 and not is_inverted:
        stage = Stage(f"{source}[^{source}]*|[^{source}]+")
    else:
        raise UnsupportedError(
            f"{path}: a Split with behaviour {config.get('behavior')!r:.40}{' inverted' if is_inverted else ''}",
            "Isolated, Contiguous, inverted Removed, and MergedWithPrevious or MergedWithNext of one character",
        )
    return found._replace(stages=(*found.stages, stage))


def _digits(_path: str, config: Config, found: Splitting) -> Splitting:
    stage = Stage(r"\p{N}" if config.get("individual_digits") else r"\p{N}+")
    return found._replace(stages=(*found.stages, stage))


def _punctuation(path: str, config: Config, found: Splitting) -> Splitting:
    behavior = str(config.get("behavior", "Isolated")).lower()
    if behavior not in ("isolated", "contiguous"):
        raise UnsupportedError(
            f"{path}: Punctuation with behaviour {config.get('behavior')!r:.40}", "Isolated, Contiguous"
        )
    stage = Stage(PUNCTUATION if behavior == "isolated" else f"{PUNCTUATION}+")
    return found._replace(stages=(*found.stages, stage))


def _white_space_split(path: str, _config: Config, found: Splitting) -> Splitting:
    if found.stages or found.marks_spaces:
        raise UnsupportedError(f"{path}: WhitespaceSplit after another pre-tokenizer", "WhitespaceSplit first")
    return found._replace(drops_spaces=True)


def _metaspace(path: str, config: Config, found: Splitting) -> Splitting:
    mark = config.get("replacement", "▁")
    scheme = config.get("prepend_scheme", "always" if config.get("add_prefix_space", True) else "never")
    if mark != "▁" or not isinstance(scheme, str) or scheme not in PREPEND_SCHEMES:
        raise UnsupportedError(f"{path}: Metaspace with {mark!r:.20} and {scheme!r:.20}", "'▁'; always, first, never")
    stages = (*found.stages, Stage("▁[^▁]*|[^▁]+")) if config.get("split", True) else found.stages
    return found._replace(stages=stages, marks_spaces=True, prefix=PREPEND_SCHEMES[scheme])


def _bert(_path: str, _config: Config, found: Splitting) -> Splitting:
    return found._replace(is_bert=True)


KINDS: dict[str, Callable[[str, Config, Splitting], Splitting]] = {
    "ByteLevel": _byte_level,
    "Split": _split,
    "Digits": _digits,
    "Punctuation": _punctuation,
    "WhitespaceSplit": _white_space_split,
    "Metaspace": _metaspace,
    "BertPreTokenizer": _bert,
}
"""Type of a pre-tokenizer -> what adds it to those before it."""
