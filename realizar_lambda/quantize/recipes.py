"""Recipes: which block type each tensor of a model gets under names such as Q4_K_M, as llama.cpp's users know them.

A recipe has a base type and, for the tensors that a model is most sensitive to, rules that give some layers more
bits: the output matrix, V, the FFN's down projection. It knows tensor names and shapes, no file and no codec.

The rules are facts of llama.cpp (`llama_tensor_get_type`), so that Q4_K_M means here what it means there.
"""

from __future__ import annotations

import re
from collections import namedtuple

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.errors import RequestError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Condition = Callable[["Place"], bool]
    Shapes = Mapping[str, tuple[int, ...]]


class Place(namedtuple("Place", "layer n_layers n_heads_per_kv has_importance")):
    """Where a tensor stands: what a rule may depend on."""

    __slots__ = ()

    layer: int
    n_layers: int
    n_heads_per_kv: int
    has_importance: bool


def everywhere(place: Place) -> bool:
    return True


def in_more_bits_layers(place: Place) -> bool:
    """The first and the last eighth of the layers, and every third one between."""
    eighth = place.n_layers // 8
    return place.layer < eighth or place.layer >= 7 * place.n_layers // 8 or (place.layer - eighth) % 3 == 2


def in_first(n: int) -> Condition:
    return lambda place: place.layer < n


def in_first_part(n: int) -> Condition:
    """The first 1 / n of the layers."""
    return lambda place: place.layer < place.n_layers // n


def in_first_eighth_without_importance(place: Place) -> bool:
    return place.layer < place.n_layers // 8 and not place.has_importance


def in_first_eighth_with_importance(place: Place) -> bool:
    return place.layer < place.n_layers // 8 and place.has_importance


def with_grouped_heads(place: Place) -> bool:
    """Four or more query heads share a key-value head: V is small, so more bits for it cost little."""
    return place.n_heads_per_kv >= 4


class Recipe(namedtuple("Recipe", "file_type base output rules")):
    """`file_type` is GGUF's `general.file_type`; `output` the type of the output matrix.

    `rules` maps a role, the part of a tensor's name after `blk.N.`, to (condition, type) pairs: the first whose
    condition holds gives the type.
    """

    __slots__ = ()


RECIPES = {
    "F32": Recipe(0, "F32", "F32", {}),
    "F16": Recipe(1, "F16", "F16", {}),
    "BF16": Recipe(32, "BF16", "BF16", {}),
    "Q4_0": Recipe(2, "Q4_0", "Q6_K", {"ffn_down": [(in_first_eighth_with_importance, "Q4_1")]}),
    "Q4_1": Recipe(3, "Q4_1", "Q6_K", {}),
    "Q5_0": Recipe(8, "Q5_0", "Q6_K", {"ffn_down": [(in_first_eighth_with_importance, "Q5_1")]}),
    "Q5_1": Recipe(9, "Q5_1", "Q6_K", {}),
    "Q8_0": Recipe(7, "Q8_0", "Q8_0", {}),
    "Q2_K": Recipe(
        10,
        "Q2_K",
        "Q6_K",
        {
            "attn_v": [(with_grouped_heads, "Q4_K"), (everywhere, "Q3_K")],
            "attn_output": [(everywhere, "Q3_K")],
            "ffn_down": [(everywhere, "Q3_K")],
        },
    ),
    "Q3_K_S": Recipe(11, "Q3_K", "Q6_K", {}),
    "Q3_K_M": Recipe(
        12,
        "Q3_K",
        "Q6_K",
        {
            "attn_v": [(in_first(2), "Q5_K"), (everywhere, "Q4_K")],
            "attn_output": [(everywhere, "Q4_K")],
            "ffn_down": [(in_first_part(16), "Q5_K"), (everywhere, "Q4_K")],
        },
    ),
    "Q3_K_L": Recipe(
        13,
        "Q3_K",
        "Q6_K",
        {
            "attn_v": [(everywhere, "Q5_K")],
            "attn_output": [(everywhere, "Q5_K")],
            "ffn_down": [(everywhere, "Q5_K")],
        },
    ),
    "Q4_K_S": Recipe(
        14,
        "Q4_K",
        "Q6_K",
        {"attn_v": [(in_first(4), "Q5_K")], "ffn_down": [(in_first_part(8), "Q5_K")]},
    ),
    "Q4_K_M": Recipe(
        15,
        "Q4_K",
        "Q6_K",
        {
            "attn_v": [(in_more_bits_layers, "Q6_K")],
            "ffn_down": [(in_more_bits_layers, "Q6_K")],
        },
    ),
    "Q5_K_S": Recipe(16, "Q5_K", "Q6_K", {}),
    "Q5_K_M": Recipe(
        17,
        "Q5_K",
        "Q6_K",
        {
            "attn_v": [(in_more_bits_layers, "Q6_K")],
            "ffn_down": [(in_more_bits_layers, "Q6_K")],
        },
    ),
    "Q6_K": Recipe(18, "Q6_K", "Q6_K", {}),
    "IQ4_NL": Recipe(
        25,
        "IQ4_NL",
        "Q6_K",
        {
            "attn_v": [(with_grouped_heads, "Q5_K")],
            "ffn_down": [(in_first_eighth_without_importance, "Q5_K")],
        },
    ),
    "IQ4_XS": Recipe(
        30,
        "IQ4_XS",
        "Q6_K",
        {
            "attn_v": [(with_grouped_heads, "Q5_K")],
            "ffn_down": [(in_first_eighth_without_importance, "Q5_K")],
        },
    ),
}

FALLBACKS = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "IQ4_XS": "IQ4_NL",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""Type of super-blocks -> the type of 32-blocks that takes its place where rows are no multiple of 256.

Rows that are no multiple of 32 either become F16."""

_ROLE = re.compile(r"blk\.(\d+)\.(attn_v|attn_qkv|attn_output|ffn_down)(_exps|_shexp)?\.weight")
_RULED_AS = {"attn_qkv": "attn_v"}
_KEPT = ("position_embd.weight", "token_types.weight", "ffn_gate_inp.weight")


def is_matrix(name: str, shape: Sequence[int]) -> bool:
    """Whether recipes apply to this tensor: weights of two and more dimensions, no norms, positions or routers."""
    return (
        name.endswith(".weight") and len(shape) > 1 and not name.endswith("_norm.weight") and not name.endswith(_KEPT)
    )


def assign(
    recipe_name: str,
    shapes: Shapes,
    *,
    n_layers: int,
    n_heads_per_kv: int = 1,
    has_importance: bool = False,
    is_pure: bool = False,
    overrides: Iterable[tuple[str, str]] = (),
) -> dict[str, str]:
    """Tensor name -> block type name, for the tensors of `shapes` (row-major) that are to be rewritten.

    `is_pure` gives every matrix the base type. `overrides` are (regular expression, block type) pairs, searched
    in the name, the first that matches wins, over recipe and `is_pure` both. Every type is then one that the
    tensor's rows are whole blocks of (`FALLBACKS`).

    Raises UnsupportedError for an unknown recipe or type, RequestError for a bad pattern or one that no tensor
    matches.
    """
    if recipe_name not in RECIPES:
        raise UnsupportedError(f"type {recipe_name!r}", RECIPES)
    recipe = RECIPES[recipe_name]
    patterns = [_compile(pattern, type_name) for pattern, type_name in overrides]
    matched = set()
    assigned = {}
    for name, shape in shapes.items():
        if not is_matrix(name, shape):
            continue
        chosen = recipe.base
        if not is_pure:
            is_output = name == ("output.weight" if "output.weight" in shapes else "token_embd.weight")
            place = (n_layers, n_heads_per_kv, has_importance)
            chosen = recipe.output if is_output else _by_rule(recipe, name, place)
        for number, (pattern, type_name) in enumerate(patterns):
            if pattern.search(name):
                matched.add(number)
                chosen = type_name
                break
        assigned[name] = fitting(chosen, shape[-1])
    for number, (pattern, _) in enumerate(patterns):
        if number not in matched and not any(pattern.search(name) for name in assigned):
            raise RequestError(400, f"no matrix's name matches {pattern.pattern!r}", "tensor_type")
    return assigned


def fitting(type_name: str, n_columns: int) -> str:
    """`type_name`, or what takes its place where rows of `n_columns` are not whole blocks of it."""
    if n_columns % BLOCKS[type_name].n_elements:
        type_name = FALLBACKS.get(type_name, "F16")
    return type_name if n_columns % BLOCKS[type_name].n_elements == 0 else "F16"


def _by_rule(recipe: Recipe, name: str, rest: tuple[int, int, bool]) -> str:
    role = _ROLE.fullmatch(name)
    if role is not None:
        place = Place(int(role[1]), *rest)
        for condition, type_name in recipe.rules.get(_RULED_AS.get(role[2], role[2]), ()):
            if condition(place):
                return str(type_name)
    return str(recipe.base)


def _compile(pattern: str, type_name: str) -> tuple[re.Pattern[str], str]:
    known = {recipe.base for recipe in RECIPES.values()}
    if type_name not in known:
        raise UnsupportedError(f"block type {type_name!r}", known)
    try:
        return re.compile(pattern), type_name
    except re.error as fault:
        raise RequestError(400, f"{pattern!r} is no regular expression: {fault}", "tensor_type") from None
