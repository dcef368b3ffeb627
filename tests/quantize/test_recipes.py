"""Recipes against the choices that llama.cpp's own quantiser made, and what users may change about them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from realizar_lambda.cli.quantize import SHORT_TYPES, TYPES, add_arguments
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.quantize.recipes import RECIPES, assign, is_matrix

MODELS = json.loads((Path(__file__).parent.parent / "fixtures" / "recipes.json").read_text())["models"]


def shapes_of(model):
    """Names and row-major shapes of the random model that llama.cpp was given."""
    kv = 256 // model["n_heads"] * model["n_kv_heads"]
    ffn = model["n_ffn"]
    block = {"attn_output": (256, 256), "ffn_down": (256, ffn), "ffn_up": (ffn, 256)}
    if model.get("arch") == "gpt2":
        block |= {"attn_qkv": (768, 256), "attn_norm": (256,)}
    else:
        block |= {"attn_q": (256, 256), "attn_k": (kv, 256), "attn_v": (kv, 256), "ffn_gate": (ffn, 256)}
    shapes = {"token_embd.weight": (64, 256), "position_embd.weight": (64, 256), "output_norm.weight": (256,)}
    has_output = not model["tied"] or model.get("arch") == "gpt2"
    shapes |= {"output.weight": (64, 256)} if has_output else {}
    layers = range(model["n_layers"])
    return shapes | {f"blk.{i}.{part}.weight": shape for i in layers for part, shape in block.items()}


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "F32"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_matrix_gets_the_type_that_llama_cpp_gives_it(model, name):
    n_heads_per_kv = model["n_heads"] // model["n_kv_heads"]
    got = assign(name, shapes_of(model), n_layers=model["n_layers"], n_heads_per_kv=n_heads_per_kv)
    checked = 0
    for role, runs in model["types"][name].items():
        expected = [type_name for type_name, count in runs for _ in range(count)]
        per_layer = [f"blk.{i}.{role}" for i in range(model["n_layers"])]
        names = per_layer if per_layer[0] in got else [role]
        assert [got.get(key, "F32") for key in names] == expected, role
        checked += len(names)
    assert checked >= len(got)


def test_the_help_lists_every_recipe():
    assert TYPES.split() == list(RECIPES)


def test_short_names_mean_the_recipes_of_medium_size():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    given = {name: parser.parse_args(["in.gguf", "--type", name]).type for name in (*SHORT_TYPES, "Q6_K", "Q4_K_S")}
    assert given == {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M", "Q6_K": "Q6_K", "Q4_K_S": "Q4_K_S"}
    assert set(SHORT_TYPES.values()) < set(RECIPES)


def test_pure_gives_every_matrix_the_base_type():
    assert set(assign("Q4_K_M", shapes_of(MODELS["fused QKV"]), n_layers=2, is_pure=True).values()) == {"Q4_K"}


def test_an_override_is_searched_in_the_name_and_the_first_that_matches_counts():
    overrides = [(r"blk\.0\..*down", "Q8_0"), ("ffn_", "Q5_0")]
    got = assign("Q4_K_M", shapes_of(MODELS["fused QKV"]), n_layers=2, is_pure=True, overrides=overrides)
    assert got["blk.0.ffn_down.weight"] == "Q8_0"
    assert got["blk.1.ffn_down.weight"] == got["blk.0.ffn_up.weight"] == "Q5_0"
    assert got["blk.0.attn_qkv.weight"] == "Q4_K"


@pytest.mark.parametrize(
    ("type_name", "n_columns", "expected"),
    [("Q4_K", 256, "Q4_K"), ("Q4_K", 96, "Q5_0"), ("IQ4_XS", 32, "IQ4_NL"), ("Q6_K", 100, "F16"), ("F16", 7, "F16")],
)
def test_rows_that_are_no_whole_blocks_get_a_smaller_block_or_halves(type_name, n_columns, expected):
    got = assign("F32", {"blk.0.ffn_up.weight": (4, n_columns)}, n_layers=1, overrides=[("ffn_up", type_name)])
    assert got == {"blk.0.ffn_up.weight": expected}


@pytest.mark.parametrize("recipe", ["Q4_0", "Q5_0", "IQ4_NL"])
def test_importance_changes_the_first_layers_of_some_recipes(recipe):
    shapes = {f"blk.{i}.ffn_down.weight": (256, 256) for i in range(16)} | {"output.weight": (64, 256)}
    plain, weighted = (
        assign(recipe, shapes, n_layers=16, has_importance=has)["blk.0.ffn_down.weight"] for has in (0, 1)
    )
    assert (plain, weighted) == {
        "Q4_0": ("Q4_0", "Q4_1"),
        "Q5_0": ("Q5_0", "Q5_1"),
        "IQ4_NL": ("Q5_K", "IQ4_NL"),
    }[recipe]


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("blk.0.attn_q.weight", (64, 64), True),
        ("blk.0.ffn_down_exps.weight", (8, 64, 64), True),
        ("blk.0.attn_norm.weight", (64,), False),
        ("blk.0.attn_q_norm.weight", (4, 64), False),
        ("blk.0.attn_q.bias", (64,), False),
        ("position_embd.weight", (64, 64), False),
        ("blk.0.ffn_gate_inp.weight", (8, 64), False),
    ],
)
def test_recipes_apply_to_matrices_but_norms_positions_and_routers(name, shape, expected):
    assert is_matrix(name, shape) is expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: assign("Q9_Z", {}, n_layers=1), UnsupportedError, r"type 'Q9_Z' .* Q4_K_M"),
        (lambda: assign("F16", {}, n_layers=1, overrides=[("a", "Q4_K_M")]), UnsupportedError, "block type 'Q4_K_M'"),
        (lambda: assign("F16", {}, n_layers=1, overrides=[("a(", "Q4_K")]), RequestError, "no regular expression"),
        (lambda: assign("F16", {}, n_layers=1, overrides=[("ffn", "Q4_K")]), RequestError, "no matrix's name matches"),
    ],
)
def test_wrong_names_and_patterns_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
