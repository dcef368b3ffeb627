"""The native draw against the oracle, on every library; its working memory, ties and faults."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import sampling as oracle

from realizar_lambda import native, ops

SENTINEL = 0x5A
TAIL = 4096


class Record:
    """A record of `ops.SAMPLING` over memory of its own, with a guard behind the working memory."""

    def __init__(self, library, logits, *, prompt_ids=(), drawn_ids=(), capacity=8, n_top=0, **words):
        self.library = library
        self.logits = np.ascontiguousarray(logits, "<f4")
        n_bytes = ops.sampling_scratch_bytes(len(self.logits))
        self.scratch = np.full(n_bytes + TAIL, SENTINEL, np.uint8)
        self.scratch[:n_bytes] = 0
        self.history = np.zeros(len(prompt_ids) + len(drawn_ids) + capacity, "<i4")
        self.history[: len(prompt_ids) + len(drawn_ids)] = [*prompt_ids, *drawn_ids]
        self.top_ids, self.top_logprobs = np.zeros(20, "<i4"), np.zeros(20, "<f8")
        self.kept = {name: np.asarray(words.pop(name)) for name in ("bias_ids", "bias_values", "banned", "stop_ids")
                     if name in words}  # fmt: skip
        values = {"temperature": 1.0, "top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0}
        values |= words
        values |= {
            "logits": native.address(self.logits), "n_vocab": len(self.logits),
            "scratch": native.address(self.scratch), "history": native.address(self.history),
            "n_prompt": len(prompt_ids), "n_history": len(prompt_ids) + len(drawn_ids), "n_drawn": len(drawn_ids),
            "top_ids": native.address(self.top_ids), "top_logprobs": native.address(self.top_logprobs),
            "n_top": n_top,
        }  # fmt: skip
        values |= {name: native.address(kept) for name, kept in self.kept.items()}
        kinds = "".join("d" if name in ops.SAMPLING_FLOATS else "q" for name in ops.SAMPLING)
        self.words = bytearray(struct.pack(f"={kinds}", *(values.get(name, 0) for name in ops.SAMPLING)))

    def word(self, name: str) -> float:
        kind = "d" if name in ops.SAMPLING_FLOATS else "q"
        return struct.unpack_from(f"={kind}", self.words, 8 * ops.SAMPLING[name])[0]

    def sample(self) -> int:
        before = self.logits.tobytes()
        token = self.library.sample(native.address(self.words))
        assert self.logits.tobytes() == before, "the logits were changed"
        assert (self.scratch[-TAIL:] == SENTINEL).all(), "the working memory was too small"
        return token


SIZES = st.sampled_from([1, 2, 7, 63, 64, 65, 128, 200, 513])
KINDS = st.sampled_from(["normal", "flat", "ties", "wide", "holes"])


def make_logits(n: int, kind: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if kind == "flat":
        return np.full(n, random.normal(), "f4")
    if kind == "ties":
        return random.integers(-3, 3, n).astype("f4")
    z = (random.normal(size=n) * (40.0 if kind == "wide" else 3.0)).astype("f4")
    if kind == "holes":
        z[random.random(n) < 0.5] = -np.inf
        z[random.integers(n)] = 0.5
    return z


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    n=SIZES, kind=KINDS, seed=st.integers(-(1 << 63), (1 << 63) - 1), n_drawn=st.integers(0, 5),
    temperature=st.sampled_from([0.0, 1e-30, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 0, 1, 2, 5, 40, 1000]), top_p=st.sampled_from([1.0, 1.0, 0.95, 0.5, 1e-9]),
    min_p=st.sampled_from([0.0, 0.0, 0.01, 0.3, 1.0]), typical_p=st.sampled_from([1.0, 1.0, 0.9, 0.2]),
)  # fmt: skip
def test_a_draw_equals_the_oracles(
    libraries, n, kind, seed, n_drawn, temperature, top_k, top_p, min_p, typical_p
) -> None:
    logits = make_logits(n, kind, seed % 1000)
    truncation = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "typical_p": typical_p,
    }  # fmt: skip
    weights, doubt = oracle.truncated(logits, **truncation)
    expected, nearness = oracle.draw(weights, oracle.fraction(seed, n_drawn))
    found = [
        Record(library, logits, seed=seed, drawn_ids=[0] * n_drawn, **truncation).sample() for library in libraries
    ]
    assert len(set(found)) == 1, "libraries differ"
    if doubt > 1e-9 and nearness > 1e-12:
        assert found[0] == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), n=st.sampled_from([5, 64, 100]), seed=st.integers(0, 1 << 30))
def test_adjusted_logits_equal_the_oracles(libraries, data, n, seed) -> None:
    """Seen through two greedy draws, the first of which the second's penalties count."""
    ids = st.integers(0, n - 1)
    prompt_ids, drawn_ids = data.draw(st.lists(ids, max_size=12)), data.draw(st.lists(ids, max_size=12))
    bias = data.draw(st.dictionaries(ids, st.floats(-100, 100, width=32), max_size=4))
    penalties = {
        "repetition_penalty": data.draw(st.sampled_from([1.0, 1.3, 0.5])),
        "presence_penalty": data.draw(st.sampled_from([0.0, 0.7, -1.0])),
        "frequency_penalty": data.draw(st.sampled_from([0.0, 0.2, -2.0])),
    }
    window = data.draw(st.sampled_from([None, 1, 3, 20]))
    banned = data.draw(st.lists(ids, max_size=3))
    stop_ids = data.draw(st.lists(ids, max_size=2))
    min_tokens = data.draw(st.sampled_from([0, 1, 6, 20]))
    logits = make_logits(n, "normal", seed)
    z = oracle.adjusted(
        logits, prompt_ids=prompt_ids, drawn_ids=drawn_ids, logit_bias=bias, penalty_window=window,
        banned_ids=banned, stop_ids=stop_ids, min_tokens=min_tokens, **penalties,
    )  # fmt: skip
    for library in libraries:
        record = Record(
            library, logits, prompt_ids=prompt_ids, drawn_ids=drawn_ids, temperature=0.0, window=window or 0,
            bias_ids=np.array([*bias], "<i4"), bias_values=np.array([*bias.values()], "<f4"), n_bias=len(bias),
            banned=np.array(banned, "<i4"), n_banned=len(banned), stop_ids=np.array(stop_ids, "<i4"),
            n_stop=len(stop_ids), min_tokens=min_tokens, **penalties,
        )  # fmt: skip
        expected = int(z.argmax()) if np.isfinite(z.max()) else -2
        assert record.sample() == expected
        if expected >= 0:
            z_now = oracle.adjusted(
                logits, prompt_ids=prompt_ids, drawn_ids=[*drawn_ids, expected], logit_bias=bias,
                penalty_window=window, banned_ids=banned, stop_ids=stop_ids, min_tokens=min_tokens, **penalties,
            )  # fmt: skip
            assert record.sample() == (int(z_now.argmax()) if np.isfinite(z_now.max()) else -2)


@pytest.mark.parametrize("truncation", [
    {}, {"temperature": 0.7}, {"top_k": 10}, {"top_p": 0.8}, {"min_p": 0.1}, {"typical_p": 0.7},
    {"temperature": 1.5, "top_k": 30, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.95},
], ids=str)  # fmt: skip
def test_draws_are_distributed_as_numpy_says(library, truncation) -> None:
    """Chi-square of 20,000 draws with a fixed seed, tokens expected less than 5 times taken together."""
    n = 20_000
    logits = make_logits(150, "normal", 1)
    record = Record(library, logits, capacity=n, seed=11, **truncation)
    counts = np.bincount([record.sample() for _ in range(n)], minlength=len(logits))
    weights, _ = oracle.truncated(logits, **truncation)
    expected = n * weights / weights.sum()
    assert (counts[expected == 0] == 0).all()
    common = expected >= 5
    rare = expected[~common].sum()
    terms = (counts[common] - expected[common]) ** 2 / expected[common]
    statistic = terms.sum() + ((counts[~common].sum() - rare) ** 2 / rare if rare >= 5 else 0.0)
    freedom = common.sum() - (rare < 5)
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


def test_the_random_numbers_are_those_of_splitmix64(library) -> None:
    """The sequence of seed 1234567 that every implementation has; and through equal logits, the kernel's."""
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert [oracle.splitmix64(1234567, number) for number in range(4)] == known
    n = 1 << 16
    record = Record(library, np.zeros(n, "f4"), seed=1234567)
    assert [record.sample() for _ in range(4)] == [value >> 48 for value in known]


@pytest.mark.parametrize("n", [1, 63, 64, 1000, 50_000])
def test_logprobs_are_those_of_the_raw_logits(library, n) -> None:
    logits = make_logits(n, "ties" if n == 1000 else "normal", 2)
    record = Record(
        library, logits, n_top=min(n, 20), wants_logprobs=1, temperature=0.5, seed=3, top_k=5,
        bias_ids=np.array([0], "<i4"), bias_values=np.array([50.0], "<f4"), n_bias=1,
    )  # fmt: skip
    token = record.sample()
    expected = oracle.logprobs(logits)
    best = sorted(range(n), key=lambda i: (-logits[i], i))[:20]
    assert token == 0
    assert record.word("logprob") == pytest.approx(expected[0], abs=1e-12)
    assert record.word("n_listed") == len(best)
    assert record.top_ids[: len(best)].tolist() == best
    np.testing.assert_allclose(record.top_logprobs[: len(best)], expected[best], rtol=0, atol=1e-12)


def test_every_library_gives_the_same_bits(libraries) -> None:
    logits = make_logits(5000, "normal", 4)
    words = []
    for library in libraries:
        record = Record(library, logits, n_top=20, wants_logprobs=1, seed=5, capacity=50)
        tokens = [record.sample() for _ in range(50)]
        words.append((tokens, record.word("logprob"), record.top_logprobs.tobytes()))
    assert all(other == words[0] for other in words)


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 7, 8, 63, 64, 99])
def test_a_logit_that_is_not_finite_is_a_fault_with_its_place(library, value, place) -> None:
    logits = make_logits(100, "normal", 5)
    logits[place] = value
    record = Record(library, logits)
    assert record.sample() == -1
    assert record.word("fault_at") == place
    assert record.word("n_history") == 0


def test_a_logit_of_minus_infinity_is_never_drawn_and_no_fault(library) -> None:
    logits = np.full(70, -np.inf, "f4")
    logits[66] = 1.0
    assert Record(library, logits).sample() == 66
    assert Record(library, np.full(70, -np.inf, "f4")).sample() == -2


def test_a_logit_that_overflows_under_a_penalty_is_a_fault(library) -> None:
    logits = np.full(9, 3e38, "f4")
    assert Record(library, logits, prompt_ids=[4], repetition_penalty=0.01).sample() == -1


def test_of_equal_logits_the_first_is_greedy(library) -> None:
    logits = np.zeros(300, "f4")
    logits[[130, 200, 299]] = 2.0
    assert Record(library, logits, temperature=0.0).sample() == 130
    assert Record(library, logits, top_k=1).sample() == 130


def test_a_large_vocabulary_is_cut_as_a_small_one_is(library) -> None:
    logits = make_logits(256_000, "normal", 6)
    for truncation in ({"top_k": 50}, {"top_p": 0.9}, {"top_k": 40_000, "top_p": 0.5}, {"typical_p": 0.5}):
        weights, doubt = oracle.truncated(logits, **truncation)
        record = Record(library, logits, seed=8, **truncation)
        for number in range(3):
            expected, nearness = oracle.draw(weights, oracle.fraction(8, number))
            assert min(doubt, nearness) > 1e-14
            assert record.sample() == expected
