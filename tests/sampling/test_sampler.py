from __future__ import annotations

import numpy as np
import pytest
from oracles import sampling as oracle

from realizar_lambda.errors import CapacityError, RequestError
from realizar_lambda.sampling import Sampler, SamplingSettings

N_VOCAB = 100


@pytest.fixture
def logits():
    return memoryview(np.random.default_rng(0).normal(size=N_VOCAB).astype("f4") * 2)


def drawn(settings, logits, n=20, **arguments):
    sampler = Sampler(settings, n_vocab=N_VOCAB, max_tokens=n, **arguments)
    return [sampler.sample(logits) for _ in range(n)]


def test_a_seed_draws_what_the_oracle_draws(logits):
    settings = SamplingSettings(
        temperature=0.8, top_k=40, top_p=0.95, repetition_penalty=1.2, presence_penalty=0.3, frequency_penalty=0.1,
        penalty_window=6, logit_bias={3: 1.5}, banned_ids=[9], min_tokens=4, seed=42,
    )  # fmt: skip
    sampler = Sampler(settings, n_vocab=N_VOCAB, prompt_ids=[1, 2, 3], max_tokens=30, stop_ids=[5, 6])
    expected = []
    for number in range(30):
        z = oracle.adjusted(
            logits, prompt_ids=[1, 2, 3], drawn_ids=expected, repetition_penalty=1.2, presence_penalty=0.3,
            frequency_penalty=0.1, penalty_window=6, logit_bias={3: 1.5}, banned_ids=[9], stop_ids=[5, 6], min_tokens=4,
        )  # fmt: skip
        weights, doubt = oracle.truncated(z, temperature=0.8, top_k=40, top_p=0.95)
        token, nearness = oracle.draw(weights, oracle.fraction(42, number))
        assert min(doubt, nearness) > 1e-9
        assert sampler.sample(logits) == token
        expected.append(token)
    assert sampler.history.tolist() == [1, 2, 3, *expected]


def test_the_same_seed_draws_the_same_and_another_something_else(logits):
    assert drawn(SamplingSettings(seed=7), logits) == drawn(SamplingSettings(seed=7), logits)
    assert drawn(SamplingSettings(seed=7), logits) != drawn(SamplingSettings(seed=8), logits)


def test_without_a_seed_one_is_taken_that_draws_the_same_again(logits):
    sampler = Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=20)
    first = [sampler.sample(logits) for _ in range(20)]
    other = Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=20)
    assert sampler.seed != other.seed
    assert drawn(SamplingSettings(seed=sampler.seed), logits) == first


def test_logprobs_are_the_models_own(logits):
    settings = SamplingSettings(temperature=0, logit_bias={4: 90.0}, logprobs=3)
    sampler = Sampler(settings, n_vocab=N_VOCAB, max_tokens=1)
    assert sampler.sample(logits) == 4
    expected = oracle.logprobs(logits)
    found, best = sampler.logprobs()
    assert found == pytest.approx(expected[4])
    assert [token for token, _ in best] == np.argsort(-expected)[:3].tolist()
    assert [logprob for _, logprob in best] == pytest.approx(sorted(expected)[:-4:-1])


def test_a_nan_is_a_clear_error_and_nothing_is_drawn(logits):
    logits[17] = float("nan")
    sampler = Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=1)
    with pytest.raises(RequestError, match="logits must be finite, that of token 17 is NaN or infinite") as caught:
        sampler.sample(logits)
    assert caught.value.status == 500
    assert len(sampler.history) == 0


def test_when_every_token_is_banned_that_is_said():
    logits = memoryview(np.zeros(3, "f4"))
    settings = SamplingSettings(banned_ids=[0, 1], min_tokens=1)
    sampler = Sampler(settings, n_vocab=3, max_tokens=1, stop_ids=[2])
    with pytest.raises(RequestError, match="no token can be drawn: banned_ids, logit_bias and min_tokens leave none"):
        sampler.sample(logits)


def test_more_draws_than_there_is_room_for_are_refused(logits):
    sampler = Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=1)
    sampler.sample(logits)
    with pytest.raises(CapacityError, match="another draw needs 2 tokens, there are 1"):
        sampler.sample(logits)


def test_logits_of_another_size_are_refused():
    sampler = Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=1)
    with pytest.raises(CapacityError, match="logits of f32 needs 400 bytes, there are 396"):
        sampler.sample(memoryview(np.zeros(N_VOCAB - 1, "f4")))
    with pytest.raises(CapacityError):
        sampler.sample(memoryview(np.zeros(N_VOCAB, "i4")))


@pytest.mark.parametrize("argument", ["prompt_ids", "stop_ids"])
@pytest.mark.parametrize("token", [-1, N_VOCAB])
def test_ids_past_the_vocabulary_are_refused(argument, token):
    with pytest.raises(RequestError, match=rf"{argument} must be in \[0, 100\)"):
        Sampler(SamplingSettings(), n_vocab=N_VOCAB, max_tokens=1, **{argument: [0, token]})
