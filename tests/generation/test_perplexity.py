from __future__ import annotations

import numpy as np
import pytest
from oracles import gguf_model, transformer

from realizar_lambda.errors import RequestError
from realizar_lambda.generation.perplexity import perplexity

N_TOKENS = 300


@pytest.fixture(scope="module")
def ids(loaded, data_dir):
    text = (data_dir / "corpora" / "tinystories_sample_2MiB.txt").read_text(encoding="utf-8")[:2000]
    return loaded.tokenizer.encode(text)[:N_TOKENS]


@pytest.fixture(scope="module")
def weights(stories):
    return gguf_model.read(stories / "stories260K-f32.gguf")


def surprises(metadata, weights, window):
    """Of each id but the first of a window, by the float64 executor."""
    z = transformer.logits(metadata, weights, window)[:-1]
    z = z - z.max(axis=1, keepdims=True)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), window[1:]]


@pytest.mark.parametrize(("window", "stride"), [(None, None), (128, 64), (100, 30), (100, 99), (7, 1)])
def test_it_is_the_float64_executors(llm, ids, weights, window, stride):
    length = window or len(ids)
    step = stride or length // 2
    expected: list[float] = []
    for begin in range(0, len(ids), step):
        end = min(begin + length, len(ids))
        found = surprises(*weights, ids[begin:end])
        expected.extend(found[len(expected) - begin :])
        if end == len(ids):
            break
    result = perplexity(llm, ids, window=window, stride=stride)
    assert result.n_scored == len(expected) == N_TOKENS - 1
    assert result.value == pytest.approx(np.exp(np.mean(expected)), rel=1e-5)
    assert result.mean_surprise == pytest.approx(np.mean(expected), rel=1e-5)


def test_quantising_costs_what_it_costs(llm, quantised, ids):
    plain, coarse = (perplexity(model, ids).value for model in (llm, quantised))
    assert plain < coarse < 1.1 * plain


def test_progress_is_told_after_each_window(llm, ids):
    told = []
    perplexity(llm, ids, window=100, stride=50, progress=lambda *counts: told.append(counts))
    assert told == [(n, 299) for n in (99, 149, 199, 249, 299)]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"window": 1}, r"window must be in \[2, 512\], got 1"),
    ({"window": 513}, r"window must be in \[2, 512\], got 513"),
    ({"window": -4}, r"window must be in \[2, 512\], got -4"),
    ({"window": 100, "stride": 100}, r"stride must be in \[1, 99\], got 100"),
    ({"window": 100, "stride": -1}, r"stride must be in \[1, 99\], got -1"),
])  # fmt: skip
def test_windows_that_make_no_sense_are_refused(llm, ids, arguments, message):
    with pytest.raises(RequestError, match=message):
        perplexity(llm, ids, **arguments)


def test_a_text_of_one_token_foresees_nothing(llm):
    with pytest.raises(RequestError, match="the text must have at least 2 tokens, it has 1"):
        perplexity(llm, [5])
