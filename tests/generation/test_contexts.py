"""Prefixes that are shared: what is computed again and what is not, who shares with whom, and the same bits."""

from __future__ import annotations

import random
from array import array

import pytest

from realizar_lambda.errors import CapacityError
from realizar_lambda.generation.contexts import MIN_BATCH, ContextPool, n_common, prefill_parts

IDS = [1, *random.Random(0).choices(range(3, 512), k=120)]


def run(llm, ids, **arguments):
    return llm.generate(ids, max_tokens=12, seed=3, logprobs=5, **arguments)


def known(llm, ids, **arguments) -> int:
    return llm.generate(ids, max_tokens=1, **arguments).usage.cached_tokens


@pytest.fixture(params=["f32", "q5_1"])
def model(request, llm, quantised):
    found = llm if request.param == "f32" else quantised
    found.contexts.clear()
    return found


def test_any_split_into_batches_gives_the_same_bits(model):
    """What going on from a prefix rests on: a token's keys and values do not depend on the batch it is in."""
    expected = model.context(256)
    logits = bytes(expected.evaluate(IDS))
    for seed in range(20):
        random_ = random.Random(seed)
        context, begin = model.context(256), 0
        while begin < len(IDS):
            size = random_.choice([MIN_BATCH, MIN_BATCH + 1, 7, 8, 15, 16, 17, 33, 64])
            if len(IDS) - begin - size < MIN_BATCH:
                size = len(IDS) - begin
            found = bytes(context.evaluate(IDS[begin : begin + size]))
            begin += size
        assert found == logits
        assert context.cache == expected.cache


def test_going_on_from_a_prefix_gives_what_a_cold_run_gives(model):
    cold = {n: run(model, IDS[:n], share_key=None) for n in (50, 51, 80, 121)}
    assert all(found.usage.cached_tokens == 0 for found in cold.values())
    for n in (50, 80, 51, 121, 50, 121):
        warm = run(model, IDS[:n])
        assert warm.token_ids == cold[n].token_ids
        assert warm.logprobs == cold[n].logprobs, "not the same bits"
    assert warm.usage.cached_tokens == 121 - MIN_BATCH


def test_a_second_request_computes_only_what_it_does_not_share(llm):
    assert known(llm, IDS[:60]) == 0
    assert known(llm, IDS[:60]) == 60 - MIN_BATCH
    assert known(llm, IDS[:90]) == 60
    assert known(llm, [*IDS[:70], 5, 5, 5, 5, 5, 5]) == 70


def test_a_completion_is_computed_again_as_part_of_the_next_prompt(llm):
    """It was computed a token at a time, whose bits are others."""
    first = llm.generate(IDS[:40], max_tokens=20, temperature=0)
    assert known(llm, [*first.token_ids, 410, 403]) == 40
    assert known(llm, [*first.token_ids, *IDS[:MIN_BATCH]]) == 60


def test_only_requests_with_the_same_key_share(llm):
    assert known(llm, IDS[:60], share_key="one") == 0
    assert known(llm, IDS[:60], share_key="two") == 0
    assert known(llm, IDS[:60]) == 0
    assert known(llm, IDS[:60], share_key=None) == 0
    assert known(llm, IDS[:60], share_key=None) == 0
    assert known(llm, IDS[:60], share_key="two") == 60 - MIN_BATCH
    assert known(llm, IDS[:60], share_key="one") == 60 - MIN_BATCH


def test_another_keys_memory_leaves_no_trace(llm):
    """Every context of the pool has been used by another key; the answer is a cold one's, to the bit."""
    cold = run(llm, IDS[:30], share_key=None)
    llm.contexts.clear()
    for number in range(4):
        run(llm, [1, *random.Random(number).choices(range(3, 512), k=100)], share_key=f"other {number}")
    found = run(llm, IDS[:30], share_key="mine")
    assert found.logprobs == cold.logprobs
    assert found.usage.cached_tokens == 0


@pytest.mark.parametrize("n", [4, 31, 32, 33, 100])
def test_what_memory_held_before_is_never_part_of_an_answer(model, n):
    """Every byte of the cache is set, so that its numbers are NaN."""
    clean, used = model.context(128), model.context(128)
    used.cache.cast("B")[:] = b"\xff" * used.cache.nbytes
    assert bytes(used.evaluate(IDS[:n])) == bytes(clean.evaluate(IDS[:n]))
    assert bytes(used.step(5)) == bytes(clean.step(5))


def test_a_context_that_would_lose_more_than_it_gives_is_left_alone(llm):
    assert known(llm, IDS) == 0
    assert known(llm, [*IDS[:10], *[7] * 30]) == 0
    assert known(llm, IDS) == len(IDS) - MIN_BATCH


def test_a_prompt_shorter_than_a_batch_is_not_kept(llm):
    assert known(llm, IDS[:3]) == 0
    assert known(llm, IDS[:60]) == 0


def test_the_least_recently_used_go_first(llm):
    pool = ContextPool(llm, max_kept=2)
    ids = [array("i", [n] * 10) for n in range(3)]
    for prompt in ids:
        context = pool.take(prompt, 20, "")
        context.append(prompt)
        pool.give(context, "", n_prompt=10)
    assert [pool.take(ids[n], 20, "").position for n in (2, 1, 0)] == [10 - MIN_BATCH, 10 - MIN_BATCH, 0]


def test_memory_is_bounded_but_one_is_kept(llm):
    pool = ContextPool(llm, max_bytes=1)
    ids = array("i", [5] * 10)
    for _ in range(3):
        context = pool.take(ids, 20, "")
        context.truncate(0)
        context.append(ids)
        pool.give(context, "", n_prompt=10)
    assert pool.take(ids, 20, "").position == 10 - MIN_BATCH
    assert pool.take(ids, 20, "").position == 0


def test_a_request_that_needs_more_room_gets_another_context(llm):
    pool = ContextPool(llm)
    ids = array("i", [5] * 10)
    small = llm.context(20)
    small.append(ids)
    pool.give(small, "", n_prompt=10)
    larger = pool.take(ids, 300, "")
    assert (larger.capacity, larger.position) == (512, 0)


def test_a_context_without_memory_is_a_clear_error(llm):
    class Poor:
        config = llm.config

        def context(self, capacity):
            raise OSError(12, "Cannot allocate memory")

    with pytest.raises(CapacityError, match="a context that the system has no memory for needs 20 tokens"):
        ContextPool(Poor()).take(array("i", [1] * 10), 20, "")


@pytest.mark.parametrize(("a", "b", "n"), [
    ([], [], 0), ([1], [], 0), ([1], [2], 0), ([1, 2, 3], [1, 2, 3], 3), ([1, 2, 3], [1, 2, 4, 5], 2),
    (list(range(1000)), list(range(777)), 777), (list(range(1000)), [*range(500), 0, *range(499)], 500),
])  # fmt: skip
def test_what_two_sequences_have_in_common(a, b, n):
    assert n_common(array("i", a), array("i", b)) == n_common(array("i", b), array("i", a)) == n


def test_a_prompt_is_cut_into_parts_that_are_all_batches():
    for most in (2 * MIN_BATCH, 64):
        for n in range(1, 300):
            parts = prefill_parts(n, most)
            assert sum(parts) == n
            assert all(MIN_BATCH <= part <= most for part in parts) or parts == [n]
