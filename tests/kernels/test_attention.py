from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
from oracles.program import Machine

from realizar_lambda import native
from realizar_lambda.builder import Builder
from realizar_lambda.program import Buffer, Program
from realizar_lambda.session import Session

Heads = namedtuple("Heads", "n_heads n_kv_heads head_width")
Rule = namedtuple("Rule", "window cap has_slopes", defaults=(0, 0.0, False))
Parts = namedtuple("Parts", "program q k v keys values")

CAPACITY = 100
MAX_TOKENS = 70
HEADS = [Heads(1, 1, 4), Heads(4, 2, 8), Heads(3, 1, 5), Heads(2, 2, 64), Heads(6, 3, 33), Heads(2, 1, 48)]
RULES = [Rule(), Rule(window=1), Rule(window=7), Rule(window=40), Rule(cap=5.0), Rule(has_slopes=True),
         Rule(window=33, cap=20.0, has_slopes=True)]  # fmt: skip
CALLS = [
    # tokens of each run: decoding, prefill, prefill in chunks, a chunk of more than a tile and then single tokens
    [1] * 6,
    [3, 2, 1],
    [4, 5, 1],
    [32, 33, 1],
    [70, 1, 16, 4],
]


def build(heads: Heads, rule: Rule, element: str, n_threads: int = 1) -> Parts:
    b = Builder(max_tokens=MAX_TOKENS, n_threads=n_threads)
    q = b.input("q", heads.n_heads * heads.head_width)
    k, v = (b.input(name, heads.n_kv_heads * heads.head_width) for name in ("k", "v"))
    keys, values = (
        b.cache(name, n_heads=heads.n_kv_heads, head_width=heads.head_width, capacity=CAPACITY, element=element)
        for name in ("keys", "values")
    )
    b.store(keys, k)
    b.store(values, v)
    slopes = b.constant([2.0 ** (-1 - h) for h in range(heads.n_heads)]) if rule.has_slopes else None
    out = b.attention(
        q, keys, values, n_heads=heads.n_heads, n_kv_heads=heads.n_kv_heads, scale=heads.head_width**-0.5,
        window=rule.window, cap=rule.cap, slopes=slopes,
    )  # fmt: skip
    return Parts(b.finish(out), q, k, v, keys, values)


def rows(parts: Parts, seed: int = 0) -> dict[Buffer, np.ndarray]:
    """(CAPACITY, width) of each input; keys and queries large enough that attention is sharp in places."""
    random = np.random.default_rng(seed)
    return {b: random.normal(scale=2.0, size=(CAPACITY, b.width)).astype("f4") for b in (parts.q, parts.k, parts.v)}


def open_session(parts: Parts, library: native.Library) -> tuple[Session, native.Team]:
    team = native.Team(parts.program.n_threads, library)
    caches = {cache.name: bytearray(b"\xff" * cache.n_bytes) for cache in (parts.keys, parts.values)}
    return Session(parts.program, team, caches=caches), team


def answers(
    parts: Parts, library: native.Library, inputs: dict[Buffer, np.ndarray], call: list[int]
) -> list[np.ndarray]:
    """What each run of a call gives; the caches begin as NaN, which no run may read."""
    session, team = open_session(parts, library)
    found, position = [], 0
    for n in call:
        for buffer, values in inputs.items():
            np.asarray(session.view(buffer, n))[:] = values[position : position + n].ravel()
        session.run(n, position)
        found.append(np.asarray(session.view(parts.program.output, n)).reshape(n, -1).copy())
        position += n
    team.dismiss()
    return found


def expected(program: Program, inputs: dict[Buffer, np.ndarray], call: list[int]) -> list[np.ndarray]:
    machine, found, position = Machine(program), [], 0
    for n in call:
        for buffer, values in inputs.items():
            machine.write(buffer, values[position : position + n])
        found.append(machine.run(n, position))
        position += n
    return found


@pytest.mark.parametrize("element", ["f16", "f32"])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("call", CALLS, ids=str)
def test_attention_over_a_growing_cache_equals_the_oracle(
    library: native.Library, element: str, heads: Heads, call: list[int]
) -> None:
    parts = build(heads, Rule(), element)
    inputs = rows(parts)
    for found, wanted in zip(answers(parts, library, inputs, call), expected(parts.program, inputs, call), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0.0, atol=4e-5)


@pytest.mark.parametrize("rule", RULES[1:], ids=str)
@pytest.mark.parametrize("call", [[1] * 45, [70, 1, 16, 4]], ids=["decoding", "chunks"])
def test_windows_caps_and_slopes_equal_the_oracle(library: native.Library, rule: Rule, call: list[int]) -> None:
    parts = build(Heads(4, 2, 8), rule, "f16")
    inputs = rows(parts)
    for found, wanted in zip(answers(parts, library, inputs, call), expected(parts.program, inputs, call), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0.0, atol=4e-5)


@pytest.mark.parametrize("element", ["f16", "f32"])
def test_the_first_token_attends_to_itself_alone(library: native.Library, element: str) -> None:
    parts = build(Heads(4, 2, 8), Rule(), element)
    inputs = rows(parts)
    (found,) = answers(parts, library, inputs, [1])
    stored = inputs[parts.v][0].reshape(2, 8).astype("f2" if element == "f16" else "f4").astype("f4")
    assert np.array_equal(found[0].reshape(4, 8), stored[[0, 0, 1, 1]])


@pytest.mark.parametrize("n", [1, 5, 40])
def test_huge_scores_overflow_nothing(library: native.Library, n: int) -> None:
    """Scores of 1e30 leave the running maximum, never an infinity: each query's answer is its best value."""
    parts = build(Heads(1, 1, 4), Rule(), "f32")
    inputs = rows(parts)
    inputs[parts.q][:] = 1e15
    inputs[parts.k][:] = np.float32(1e15) * np.arange(1, CAPACITY + 1, dtype="f4")[:, None]
    (found,) = answers(parts, library, inputs, [n])
    assert np.array_equal(found, inputs[parts.v][:n])


@pytest.mark.parametrize("n", [3, 40])
def test_a_nan_in_a_key_spoils_the_tokens_that_see_it_and_no_other(library: native.Library, n: int) -> None:
    parts = build(Heads(1, 1, 8), Rule(), "f32")
    inputs = rows(parts)
    (clean,) = answers(parts, library, inputs, [n])
    inputs[parts.k][1, 3] = np.nan
    (found,) = answers(parts, library, inputs, [n])
    assert np.array_equal(found[:1], clean[:1])
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("element", ["f16", "f32"])
def test_a_store_writes_its_positions_and_nothing_else(library: native.Library, element: str) -> None:
    heads = Heads(2, 2, 6)
    parts = build(heads, Rule(), element)
    team = native.Team(1, library)
    caches = {cache.name: bytearray(b"\xff" * cache.n_bytes) for cache in (parts.keys, parts.values)}
    session = Session(parts.program, team, caches=caches)
    inputs = rows(parts)
    for buffer, values in inputs.items():
        np.asarray(session.view(buffer, 3))[:] = values[:3].ravel()
    session.run(3, CAPACITY - 3)
    kind = "<f2" if element == "f16" else "<f4"
    for name, source in (("keys", parts.k), ("values", parts.v)):
        cache = np.frombuffer(caches[name], kind).reshape(heads.n_kv_heads, CAPACITY, heads.head_width)
        written = inputs[source][:3].reshape(3, heads.n_kv_heads, heads.head_width).transpose(1, 0, 2).astype(kind)
        assert np.array_equal(cache[:, CAPACITY - 3 :], written)
        assert np.isnan(cache[:, : CAPACITY - 3]).all()
