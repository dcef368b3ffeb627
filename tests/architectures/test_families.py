"""Every family against what `transformers` gave for it and against the float64 oracle, in every way of running it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from oracles import architecture_fixtures, gguf_model, transformer
from oracles.program import Machine
from tiny_decoders import relative_rms, write

from realizar_lambda import native
from realizar_lambda.architectures import families
from realizar_lambda.language_model import LanguageModel

EXACT = 2e-6
"""Relative RMS that f32 arithmetic leaves in two layers of width 32: a few roundings of 6e-8 for each logit."""


@cache
def fixture(name):
    """(metadata, weights, token ids, the logits of transformers, the oracle's)."""
    metadata, weights, ids, expected = architecture_fixtures.read(name)
    return metadata, weights, ids, expected, transformer.logits(metadata, weights, ids)


@pytest.fixture(params=architecture_fixtures.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def opened(tmp_path: Path, name: str, *, block: str = "F32", blocks: dict[str, str] | None = None, **how: object):
    metadata, weights, *_ = fixture(name)
    return LanguageModel.open(write(tmp_path / "m.gguf", metadata, weights, block=block, blocks=blocks), **how)


def token_by_token(model: LanguageModel, ids: list[int]) -> np.ndarray:
    context = model.context(len(ids))
    return np.stack([np.asarray(context.evaluate([token_id])).copy() for token_id in ids])


def test_every_family_has_a_fixture() -> None:
    found = {fixture(name)[0]["general.architecture"] for name in architecture_fixtures.NAMES}
    assert found | {"mistral"} == families.GGUF.keys()  # mistral's files say llama, as llama.cpp writes them


def test_a_family_gives_the_logits_of_transformers_and_of_the_oracle(
    name: str, tmp_path: Path, library: native.Library
) -> None:
    *_, ids, expected, exact = fixture(name)
    model = opened(tmp_path, name, n_threads=1, library=library)
    for found in (model.logits(ids), token_by_token(model, ids)):
        assert relative_rms(found, expected) < EXACT
        assert relative_rms(found, exact) < EXACT


def test_the_reference_executor_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    """The program itself, without a kernel: only the cache's f32 is not exact."""
    *_, ids, _, exact = fixture(name)
    program, token_ids = opened(tmp_path, name, n_threads=1).program(len(ids), len(ids))
    machine = Machine(program)
    machine.write(token_ids, ids)
    machine.run(len(ids), first="main")
    stream, last = (next(b for b in program.buffers if b.name == wanted) for wanted in ("stream", "last"))
    for begin in range(0, len(ids), last.rows):
        rows = machine.rows(stream, len(ids))[begin : begin + last.rows]
        machine.write(last, rows)
        assert relative_rms(machine.run(len(rows), first="head"), exact[begin : begin + last.rows]) < 1e-6


def test_matrices_of_halves_give_the_same_logits(name: str, tmp_path: Path, library: native.Library) -> None:
    *_, ids, _, exact = fixture(name)  # every matrix of a fixture is exact in F16
    model = opened(tmp_path, name, block="F16", n_threads=1, library=library)
    for found in (model.logits(ids), token_by_token(model, ids)):
        assert relative_rms(found, exact) < EXACT


def test_a_prompt_in_chunks_of_any_size_ends_as_the_whole(name: str, tmp_path: Path) -> None:
    *_, ids, _, exact = fixture(name)
    model = opened(tmp_path, name, n_threads=1)
    for chunk in (1, 3, 5, 16, 17):
        assert relative_rms(model.context(len(ids), chunk=chunk).evaluate(ids), exact[-1]) < EXACT, chunk


def test_any_number_of_threads_gives_the_same_bits(name: str, tmp_path: Path, library: native.Library) -> None:
    *_, ids, _, _ = fixture(name)
    one, *more = (opened(tmp_path, name, n_threads=n, library=library) for n in (1, 2, 3))
    if name in ("gemma2", "qwen3"):  # between them every operation; eight threads on few CPUs take their time
        more.append(opened(tmp_path, name, n_threads=8, library=library))
    for model in more:
        assert bytes(model.logits(ids)) == bytes(one.logits(ids))
        assert token_by_token(model, ids[:4]).tobytes() == token_by_token(one, ids[:4]).tobytes()


def test_a_cache_of_halves_costs_a_thousandth(name: str, tmp_path: Path, library: native.Library) -> None:
    *_, ids, _, exact = fixture(name)
    model = opened(tmp_path, name, n_threads=1, library=library, cache_element="f16")
    for found in (model.logits(ids), token_by_token(model, ids)):
        assert EXACT < relative_rms(found, exact) < 2e-3


MIXTURES = [
    ("Q8_0", {}),
    ("Q4_0", {"attn_v.weight": "F16", "ffn_down.weight": "Q8_0", "output.weight": "BF16"}),
    (
        "F16",
        {"attn_k.weight": "Q5_1", "attn_qkv.weight": "Q4_1", "ffn_up.weight": "IQ4_NL", "token_embd.weight": "Q8_0"},
    ),
]


@pytest.mark.parametrize("name", [name for name in architecture_fixtures.NAMES if name != "bloom"])  # rows of 48
@pytest.mark.parametrize(("block", "blocks"), MIXTURES, ids=["all", "first", "some"])
def test_quantised_matrices_cost_what_quantised_activations_do(
    name: str, tmp_path: Path, library: native.Library, block: str, blocks: dict[str, str]
) -> None:
    """8-bit codes of 32 activations cost each product 0.46 % (test_reference_models.py has the derivation), and
    random layers double it a few times: 5 % is far below what any wrong scale or row would do."""
    metadata, _, ids, *_ = fixture(name)
    model = opened(tmp_path, name, block=block, blocks=blocks, n_threads=1, library=library)
    exact = transformer.logits(metadata, gguf_model.read(tmp_path / "m.gguf")[1], ids)
    for found in (model.logits(ids), token_by_token(model, ids)):
        assert relative_rms(found, exact) < 0.05
    more = LanguageModel.open(str(tmp_path / "m.gguf"), n_threads=2, library=library)
    assert bytes(more.logits(ids)) == bytes(model.logits(ids))


def test_a_window_hides_what_lies_before_it(tmp_path: Path) -> None:
    metadata, weights, ids, _, exact = fixture("mistral")
    without = {key: value for key, value in metadata.items() if "sliding_window" not in key}
    full = LanguageModel.open(write(tmp_path / "full.gguf", without, weights), n_threads=1).logits(ids)
    assert relative_rms(np.asarray(full)[:6], exact[:6]) < EXACT  # the window of 6 holds the first six tokens
    assert relative_rms(np.asarray(full)[6:], exact[6:]) > 0.05
