"""Tokens known by their names: those that end a turn or a text, whatever type their vocabulary gives them.

It does not know files. The names are those that llama.cpp looks for.
"""

from __future__ import annotations

from realizar_lambda.tokenizers.vocabulary import CONTROL, NORMAL, USER_DEFINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

END_OF_TURN = (
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>",
    "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>",
)  # fmt: skip
"""Looked for in this order where the file does not name an end-of-turn token."""

STOPS = (
    *END_OF_TURN, "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "</s>", "<|eom_id|>", "[EOS]", "<eos>", "<turn|>",
    "<|tool_response>", "[e~[",
)  # fmt: skip
PADDING_STOPS = ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]")
REPOSITORY_STOPS = ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>")
FILE_STOPS = ("<|file_sep|>",)

FILL_IN = (
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
    "<|code_suffix|>", "<|suffix|>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
    "▁<MID>", "<|code_middle|>", "<|middle|>",
)  # fmt: skip
SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")

# Where all of the first are there, the second ends no generation, and has this type.
NO_STOPS = (
    (("<|return|>", "<|call|>"), "<|end|>", USER_DEFINED),
    (("<|flush|>", "<|calls|>"), "<|end|>", USER_DEFINED),
    (("<|tool_response>",), "</s>", NORMAL),
)


def first_of(find: Callable[[str], int | None], names: Collection[str]) -> int | None:
    """The id of the first of `names` that is a token."""
    return next((found for found in map(find, names) if found is not None), None)


def stop_ids(find: Callable[[str], int | None], named: Collection[int | None]) -> set[int]:
    """The ids that end a generation: the tokens of these names, and the ids that the file names."""
    found = {name: token for name in STOPS if (token := find(name)) is not None}
    stops = set(found.values()) | {token for token in named if token is not None}
    for names in (PADDING_STOPS, REPOSITORY_STOPS, FILE_STOPS):
        token = first_of(find, names)
        if token is not None:
            stops.add(token)
    for conditions, name, _ in NO_STOPS:
        if name in found and all(condition in found for condition in conditions):
            stops.discard(found[name])
    return stops


def types_by_name(find: Callable[[str], int | None]) -> dict[int, int]:
    """The types of tokens that their names decide, by id."""
    types = {}
    for name in (*STOPS, *PADDING_STOPS, *REPOSITORY_STOPS, *FILE_STOPS, *FILL_IN):
        token = find(name)
        if token is not None:
            types[token] = CONTROL
    for name in SHOWN:
        token = find(name)
        if token is not None:
            types[token] = USER_DEFINED
    for conditions, name, kind in NO_STOPS:
        token = find(name)
        if token is not None and all(find(condition) is not None for condition in conditions):
            types[token] = kind
    return types
