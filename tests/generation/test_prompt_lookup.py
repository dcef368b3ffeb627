"""Prompt lookup changes nothing of an answer: its ids, texts, log-probabilities and end are those of single steps."""

from __future__ import annotations

import os
from array import array
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realizar_lambda import native
from realizar_lambda.errors import CapacityError, RequestError
from realizar_lambda.generation import Request, Stream
from realizar_lambda.generation.contexts import MIN_BATCH
from realizar_lambda.generation.prompt_lookup import TOGETHER, Lookahead, Repetitions
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.sampling import SamplingSettings

STORY = "Lily saw a big red ball. She was happy. Lily saw a big red ball. She was happy. Lily saw a"


def told(stream: Stream) -> tuple[object, ...]:
    """Everything that a caller can see of a generation but times."""
    pieces = list(stream)
    done = stream.generation
    return pieces, done.text, done.token_ids, done.finish_reason, done.usage, done.logprobs


def both(model: LanguageModel, prompt: object, sampling: SamplingSettings, clock=None, **options: object):
    """The same request without prompt lookup and with it."""
    found = []
    for prompt_lookup in (False, True):
        model.contexts.clear()
        request = Request(prompt, sampling, prompt_lookup=prompt_lookup, **options)
        stream = Stream(model, request) if clock is None else Stream(model, request, clock=clock())
        found.append(told(stream))
    return found


@pytest.fixture
def evaluations(monkeypatch):
    """How many tokens each forward pass after the prompt had."""
    from realizar_lambda.language_model import Context

    sizes: list[int] = []
    step, step_each = Context.step, Context.step_each

    def counted_step(self, token_id):
        sizes.append(1)
        return step(self, token_id)

    def counted_step_each(self, token_ids):
        sizes.append(len(token_ids))
        return step_each(self, token_ids)

    monkeypatch.setattr(Context, "step", counted_step)
    monkeypatch.setattr(Context, "step_each", counted_step_each)
    return sizes


def test_a_text_that_repeats_itself_takes_fewer_passes_and_stays_the_same(llm, evaluations):
    plain = llm.generate(STORY, max_tokens=100, temperature=0, share_key=None)
    n_plain = len(evaluations)
    evaluations.clear()
    found = llm.generate(STORY, max_tokens=100, temperature=0, share_key=None, prompt_lookup=True)
    assert (found.token_ids, found.text, found.finish_reason) == (plain.token_ids, plain.text, plain.finish_reason)
    assert n_plain == 99
    assert len(evaluations) < 90
    assert max(evaluations) == TOGETHER <= llm.context(8).few


def test_a_new_text_takes_the_same_passes(llm, evaluations):
    llm.generate("Once upon a time", max_tokens=12, temperature=0, share_key=None, prompt_lookup=True)
    assert evaluations == [1] * 11


requests = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.0, 0.7, 1.5]),
        "repetition_penalty": st.sampled_from([1.0, 1.0, 1.3]),
        "frequency_penalty": st.sampled_from([0.0, 0.5]),
        "penalty_window": st.sampled_from([None, 8]),
        "logit_bias": st.dictionaries(st.integers(3, 511), st.floats(-5, 5), max_size=3),
        "min_tokens": st.integers(0, 10),
        "seed": st.integers(0, 1 << 40),
        "logprobs": st.sampled_from([None, 2]),
    }
)
prompts = st.builds(
    lambda part, n, rest: [1, *part * n, *rest],
    st.lists(st.integers(3, 511), min_size=1, max_size=6),
    st.integers(1, 8),
    st.lists(st.integers(3, 511), max_size=4),
)
stops = st.lists(st.sampled_from(["a", "the", ". ", "Lily", "e d"]), max_size=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sampling=requests, prompt=st.one_of(prompts, st.just(STORY)), stop=stops, max_tokens=st.integers(10, 60))
def test_whatever_is_asked_the_answer_is_the_same(quantised, sampling, prompt, stop, max_tokens):
    plain, looked_up = both(quantised, prompt, SamplingSettings(**sampling), stop=stop, max_tokens=max_tokens)
    assert plain == looked_up


def test_the_answer_is_the_same_up_to_the_end_of_the_context(llm):
    ids = llm.tokenizer.encode(STORY) * 3
    length = llm.config.context_length
    ids = (ids * 20)[: length - 60]
    plain, looked_up = both(llm, ids, SamplingSettings(temperature=0), max_tokens=None, ignore_eos=True)
    assert plain == looked_up
    assert len(plain[2]) == length
    assert plain[3] == "length"


@pytest.mark.parametrize("at", [3, 17, 40])
def test_the_answer_ends_at_the_same_token_where_time_runs_out(llm, at):
    """The clock is looked at as often: it counts its readings."""
    plain, looked_up = both(
        llm,
        STORY,
        SamplingSettings(temperature=0),
        lambda: count().__next__,
        deadline=at,
        max_tokens=50,
    )
    assert plain == looked_up
    assert plain[3] == "timeout"


def test_a_stream_that_is_closed_early_leaves_a_context_of_the_prompt_alone(llm):
    stream = llm.stream(STORY, max_tokens=50, temperature=0, prompt_lookup=True)
    for _ in range(10):
        next(stream)
    stream.close()
    again = llm.generate(STORY, max_tokens=50, temperature=0)
    assert again.usage.cached_tokens == len(stream.prompt_ids) - MIN_BATCH
    assert again.token_ids == both(llm, STORY, SamplingSettings(temperature=0), max_tokens=50)[0][2]


@pytest.mark.parametrize("value", [1, "yes", None])
def test_prompt_lookup_is_true_or_false(llm, value):
    with pytest.raises(RequestError, match="prompt_lookup must be true or false, got") as caught:
        llm.generate("Once", prompt_lookup=value)
    assert (caught.value.status, caught.value.field) == (422, "prompt_lookup")


def reference_files(data_dir):
    folder = data_dir / "models" / "random-256"
    return sorted(folder.glob("*.gguf"))


@pytest.mark.parametrize("isa", [name for name, _ in native.ISAS[os.uname().machine]])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_few_tokens_together_have_the_bits_of_one_after_the_other(data_dir, isa, n_threads):
    """Of every block type and of three families, with keys and values in f16 and in f32."""
    needed = dict(native.ISAS[os.uname().machine])[isa].split()
    if not native.cpu_flags().issuperset(needed):
        pytest.skip(f"this CPU does not run {isa}")
    library = native.Library(isa, os.path.join(native.FOLDER, f"{isa}.so"))
    for path in reference_files(data_dir):
        for cache_element in ("f16", "f32"):
            model = LanguageModel.open(str(path), n_threads=n_threads, cache_element=cache_element, library=library)
            one, few = model.context(64), model.context(64)
            for context in (one, few):
                context.append([5, 9, 2, 7, 1, 8])
            for n in range(1, few.few + 1):
                ids = [3 + n + i for i in range(n)]
                steps = [bytes(one.step(token)) for token in ids]
                assert [bytes(row) for row in few.step_each(ids)] == steps, f"{path.name}, {n} tokens"
            assert bytes(one.cache) == bytes(few.cache), path.name


def test_more_than_few_tokens_are_refused(llm):
    context = llm.context(16)
    with pytest.raises(CapacityError, match=f"step_each needs {context.few + 1} tokens, there are {context.few}"):
        context.step_each([1] * (context.few + 1))
    context.append([1] * 15)
    with pytest.raises(CapacityError, match="the context needs 17 tokens, there are 16"):
        context.step_each([1, 1])
    assert context.position == 15


def test_the_longest_sequence_that_occurred_decides_and_its_last_occurrence():
    known = Repetitions(array("i", [1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3]))
    assert known.draft(2) == [4, 9], "1 2 3 was followed by 4, 2 3 alone by 5"
    known.append(6)
    assert known.draft(3) == []
    for token in (7, 2, 3):
        known.append(token)
    assert known.draft(4) == [6, 7, 2, 3], "2 3 was followed by 6 last"


def test_a_sequence_is_not_its_own_occurrence():
    assert Repetitions(array("i", [1, 2, 3])).draft(3) == []
    assert Repetitions(array("i", [])).draft(3) == []


def test_a_draft_that_comes_to_the_end_of_the_text_goes_on_as_a_cycle():
    assert Repetitions(array("i", [4, 4, 4])).draft(3) == [4, 4, 4]
    assert Repetitions(array("i", [9, 1, 2, 3, 1, 2])).draft(7) == [3, 1, 2, 3, 1, 2, 3]


class FakeContext:
    """Counts upwards modulo 5, and notes what it is asked to evaluate."""

    few = 4

    def __init__(self) -> None:
        self.position = 20
        self.log: list[object] = []

    def step(self, token):
        self.log.append([token])
        self.position += 1
        return ("logits", token)

    def step_each(self, tokens):
        self.log.append(list(tokens))
        self.position += len(tokens)
        return [("logits", token) for token in tokens]

    def truncate(self, n):
        self.log.append(f"cut to {n}")
        self.position = n


def test_drafts_grow_with_what_was_foreseen_and_wrong_ones_are_forgotten():
    context = FakeContext()
    prompt = array("i", [0, 1, 2, 3, 4] * 4)
    ahead = Lookahead(context, prompt, n_steps=20)
    asked = [0, 1, 2, 3, 4, 0, 7, 8]
    assert [ahead.step(token) for token in asked] == [("logits", token) for token in asked]
    assert context.log == [[0, 1, 2], [3, 4, 0, 1], "cut to 26", [7], [8]]


def test_no_draft_goes_beyond_the_last_step():
    context = FakeContext()
    ahead = Lookahead(context, array("i", [0, 1, 2, 3, 4] * 4), n_steps=3)
    for token in (0, 1, 2):
        ahead.step(token)
    assert context.log == [[0, 1, 2]]
