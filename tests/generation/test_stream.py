from __future__ import annotations

import os

import pytest

from realizar_lambda import native
from realizar_lambda.errors import RequestError
from realizar_lambda.generation import Request, Stream
from realizar_lambda.generation.contexts import MIN_BATCH
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.sampling import SamplingSettings

GREEDY = SamplingSettings(temperature=0)
PROMPT = "Once upon a time"


def texts(stream):
    return [piece.text for piece in stream]


def test_the_pieces_are_the_tokens_and_their_texts_the_completion(llm, cases):
    stream = llm.stream(PROMPT, max_tokens=124, temperature=0)
    pieces = list(stream)
    done = stream.generation
    assert [piece.token_id for piece in pieces] == cases[0]["all_ids"][5:]
    assert "".join(piece.text for piece in pieces) == done.completion == cases[0]["text"][len(PROMPT) :]
    assert done == llm.generate(PROMPT, max_tokens=124, temperature=0)._replace(usage=done.usage, timings=done.timings)


def test_the_generation_so_far_can_be_seen_at_any_piece(llm):
    stream = llm.stream(PROMPT, max_tokens=5, temperature=0)
    next(stream)
    early = stream.generation
    assert (early.finish_reason, early.usage.completion_tokens, early.completion) == ("", 1, ",")
    list(stream)
    assert stream.generation.finish_reason == "length"


def test_a_character_of_several_bytes_comes_whole(llm):
    """Biases and a penalty make the model draw the bytes C3 A9."""
    bias = {3 + 0xC3: 100.0, 3 + 0xA9: 50.0}
    stream = llm.stream(PROMPT, max_tokens=2, temperature=0, logit_bias=bias, repetition_penalty=10.0)
    assert list(stream) == [(3 + 0xC3, "", None), (3 + 0xA9, "é", None)]
    assert stream.generation.completion == "é"


def test_half_a_character_at_the_end_becomes_the_replacement_character(llm):
    found = llm.generate(PROMPT, max_tokens=1, temperature=0, logit_bias={3 + 0xC3: 100.0})
    assert found.completion == "\N{REPLACEMENT CHARACTER}"


def test_a_stop_string_across_tokens_ends_the_text_before_it(llm, cases):
    text = cases[0]["text"][len(PROMPT) :]
    place = text.index("girl named Lily")
    found = llm.generate(PROMPT, max_tokens=124, temperature=0, stop="girl named")
    assert found.completion == text[:place]
    assert found.finish_reason == "stop"
    ids = cases[0]["all_ids"][: len(found.token_ids)]
    assert found.token_ids == ids
    shown = "".join(texts(llm.stream(PROMPT, max_tokens=124, temperature=0, stop=["xyz", "girl named"])))
    assert shown == found.completion


def test_a_stop_string_that_never_comes_changes_nothing(llm, cases):
    stops = ["girl named Lily. She loathed", "zebra"]
    found = llm.generate(PROMPT, max_tokens=124, temperature=0, stop=stops)
    assert (found.text, found.finish_reason) == (cases[0]["text"], "length")


def test_what_waited_for_a_stop_string_comes_with_the_last_piece(llm, cases):
    text = cases[0]["text"][len(PROMPT) :]
    n = 20
    full = llm.generate(PROMPT, max_tokens=n, temperature=0).completion
    stop = full[-3:] + "never"
    stream = llm.stream(PROMPT, max_tokens=n, temperature=0, stop=stop)
    assert "".join(texts(stream)) == full
    assert text.startswith(full)
    assert stream.generation.finish_reason == "length"


def test_a_stop_token_ends_the_generation_and_is_no_part_of_it(llm, cases):
    full_stop = 426
    place = cases[0]["all_ids"].index(full_stop)
    stream = llm.stream(PROMPT, max_tokens=124, temperature=0, stop_token_ids=[full_stop])
    assert [piece.token_id for piece in stream] == cases[0]["all_ids"][5:place]
    assert stream.generation.finish_reason == "stop"
    assert stream.generation.token_ids == cases[0]["all_ids"][:place]


def test_what_waited_when_a_stop_token_came_is_a_piece_without_a_token(llm, cases):
    full_stop = 426
    before = llm.generate(PROMPT, max_tokens=124, temperature=0, stop_token_ids=[full_stop]).completion
    stream = llm.stream(PROMPT, max_tokens=124, temperature=0, stop_token_ids=[full_stop], stop=before[-2:] + "x")
    pieces = list(stream)
    assert pieces[-1].token_id is None
    assert "".join(piece.text for piece in pieces) == before == stream.generation.completion


def test_the_models_own_end_ends_it_unless_that_is_ignored(llm):
    eos = llm.tokenizer.eos_id
    arguments = {"max_tokens": 4, "temperature": 0, "logit_bias": {eos: 100.0}}
    found = llm.generate(PROMPT, **arguments)
    assert (found.completion, found.finish_reason, found.usage.completion_tokens) == ("", "stop", 0)
    found = llm.generate(PROMPT, ignore_eos=True, **arguments)
    assert (found.completion, found.finish_reason) == ("", "length")
    assert found.token_ids[-4:] == [eos] * 4


def test_nothing_stops_before_min_tokens(llm, cases):
    eos = llm.tokenizer.eos_id
    found = llm.generate(PROMPT, max_tokens=50, temperature=0, logit_bias={eos: 100.0}, min_tokens=7, stop=["little"])
    assert "little" in found.completion
    assert (found.usage.completion_tokens, found.finish_reason) == (7, "stop")
    assert found.token_ids == cases[0]["all_ids"][:12]


def test_without_max_tokens_it_goes_on_until_the_context_is_full(llm):
    prompt = [1] + [410] * (llm.config.context_length - 8)
    found = llm.generate(prompt, max_tokens=None, ignore_eos=True, temperature=0)
    assert (found.usage.completion_tokens, found.finish_reason) == (7, "length")
    assert found.usage.total_tokens == llm.config.context_length


def test_the_same_seed_gives_the_same_text_whatever_the_number_of_threads(llm, stories):
    first = llm.generate(PROMPT, max_tokens=60, seed=5)
    assert llm.generate(PROMPT, max_tokens=60, seed=5).text == first.text
    assert llm.generate(PROMPT, max_tokens=60, seed=6).text != first.text
    other = LanguageModel.open(str(stories / "stories260K-f32.gguf"), n_threads=2)
    assert other.generate(PROMPT, max_tokens=60, seed=5).text == first.text


def test_the_same_seed_gives_the_same_text_on_every_instruction_set(llm, stories):
    """Logits differ in their last bits there; for these seeds no draw is that close to a border."""
    flags = native.cpu_flags()
    names = [name for name, needed in native.ISAS[os.uname().machine] if flags.issuperset(needed.split())]
    folder = os.path.dirname(native.library().path)
    texts_of = {}
    for name in names:
        library = native.Library(name, os.path.join(folder, f"{name}.so"))
        model = LanguageModel.open(str(stories / "stories260K-f32.gguf"), n_threads=1, library=library)
        texts_of[name] = [model.generate(PROMPT, max_tokens=60, seed=seed).text for seed in range(10)]
    assert all(found == texts_of[names[0]] for found in texts_of.values())
    assert len(set(texts_of[names[0]])) == 10


def test_a_seed_that_was_taken_gives_the_same_text_again(llm):
    stream = llm.stream(PROMPT, max_tokens=30)
    text = "".join(texts(stream))
    assert llm.generate(PROMPT, max_tokens=30, seed=stream.seed).completion == text


def test_logprobs_come_with_each_token(llm):
    stream = llm.stream(PROMPT, max_tokens=6, temperature=0, logprobs=3)
    pieces = list(stream)
    for piece in pieces:
        assert piece.logprob.token_id == piece.token_id == piece.logprob.top[0][0]
        assert piece.logprob.logprob == piece.logprob.top[0][1] < 0
        assert len(piece.logprob.top) == 3
    assert stream.generation.logprobs == [piece.logprob for piece in pieces]
    assert llm.generate(PROMPT, max_tokens=2, temperature=0).logprobs is None


class Clock:
    """Seconds that pass by one at every look."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_when_time_is_up_what_came_by_then_is_the_answer(llm, cases):
    request = Request(PROMPT, GREEDY, max_tokens=100, deadline=20.0)
    stream = Stream(llm, request, clock=Clock())
    pieces = list(stream)
    done = stream.generation
    assert done.finish_reason == "timeout"
    assert 2 <= len(pieces) < 20
    assert done.token_ids == cases[0]["all_ids"][: 5 + len(pieces)]


def test_time_can_be_up_during_the_prompt(llm):
    request = Request([1] + [410] * 400, GREEDY, max_tokens=10, deadline=4.0)
    stream = Stream(llm, request, clock=Clock())
    assert list(stream) == []
    done = stream.generation
    assert (done.finish_reason, done.completion, done.usage.completion_tokens) == ("timeout", "", 0)
    assert done.timings.tokens_per_second == 0.0


def test_a_deadline_changes_nothing_but_the_end(llm):
    prompt = [1] + [403, 407, 261, 378] * 50
    free = llm.generate(prompt, max_tokens=20, seed=1, share_key=None)
    timed = Stream(
        llm, Request(prompt, SamplingSettings(seed=1), max_tokens=20, deadline=1e9, share_key=None), clock=Clock()
    )
    list(timed)
    assert timed.generation.token_ids == free.token_ids


def test_a_stream_that_is_closed_gives_its_context_back(llm):
    stream = llm.stream([1] + [410] * 20, max_tokens=50)
    next(stream)
    stream.close()
    assert list(stream) == []
    assert stream.generation.finish_reason == ""
    again = llm.generate([1] + [410] * 20, max_tokens=1)
    assert again.usage.cached_tokens == 21 - MIN_BATCH


def test_two_streams_at_once_do_not_disturb_each_other(llm, cases):
    streams = [llm.stream(case["prompt"], max_tokens=50, temperature=0) for case in cases]
    for _ in range(50):
        for stream in streams:
            next(stream)
    for stream, case in zip(streams, cases, strict=True):
        assert stream.generation.token_ids == case["all_ids"][: len(stream.generation.token_ids)]


@pytest.mark.parametrize(("prompt", "status", "message"), [
    ([], 400, "token_ids must be a list of at least one id, got"),
    ([1, 512], 400, "token_ids[1] must be an integer in [0, 512), got 512"),
    ([1, -1], 400, "token_ids[1] must be an integer in [0, 512), got -1"),
    ([1, True], 400, "token_ids[1] must be an integer in [0, 512), got True"),
    ([1, "2"], 400, "token_ids[1] must be an integer in [0, 512), got '2'"),
    ([1, 10**30], 400, "token_ids[1] must be an integer in [0, 512), got 1000000000"),
    (b"Once", 422, "prompt must be text or token ids, got bytes"),
    (7, 422, "prompt must be text or token ids, got int"),
    (None, 422, "prompt must be text or token ids, got NoneType"),
    ("a lone \ud800 surrogate", 400, "lone surrogate U+D800"),
    ([1] * 500, 413, "the prompt has 500 tokens and 50 to generate, the context has room for 512"),
    ([1] * 512, 413, "the prompt has 512 tokens and 50 to generate, the context has room for 512"),
])  # fmt: skip
def test_a_prompt_that_cannot_be_is_refused_before_anything_is_computed(llm, prompt, status, message):
    with pytest.raises(RequestError) as caught:
        llm.stream(prompt)
    assert caught.value.status == status
    assert message in caught.value.message


def test_a_prompt_that_fills_the_context_leaves_no_room_for_a_token(llm):
    with pytest.raises(RequestError) as caught:
        llm.stream([1] * 512, max_tokens=None)
    assert caught.value.code == "E_CONTEXT_LENGTH_EXCEEDED"
    assert caught.value.message == "the prompt has 512 tokens, the context has room for 512, the completion included"


def test_an_empty_text_is_its_bos_or_refused_without_one(llm, cases):
    assert llm.generate("", max_tokens=8, temperature=0).token_ids == cases[1]["all_ids"][:9]
    with pytest.raises(RequestError, match="prompt must have at least one token, '' has none"):
        llm.stream("", add_special=False)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"prompt": {1: 2}}, "prompt must be text or token ids, got dict"),
    ({"stop": 5}, "stop must be a string or a list of strings, got int"),
    ({"stop": {"a": 1}}, "stop must be a string or a list of strings, got dict"),
    ({"stop": b"a"}, "stop must be a string or a list of strings, got bytes"),
    ({"stop_token_ids": None}, "stop_token_ids must be a list of token ids, got NoneType"),
    ({"stop_token_ids": {3}}, "stop_token_ids must be a list of token ids, got set"),
    ({"deadline": "soon"}, "deadline must be a time in seconds, got 'soon'"),
    ({"deadline": float("nan")}, "deadline must be a time in seconds, got nan"),
    ({"deadline": True}, "deadline must be a time in seconds, got True"),
    ({"share_key": 3}, "share_key must be a string or None, got 3"),
])  # fmt: skip
def test_a_value_of_a_wrong_type_is_named(llm, arguments, message):
    with pytest.raises(RequestError) as caught:
        llm.generate(**{"prompt": PROMPT, "max_tokens": 1, **arguments})
    assert (caught.value.status, str(caught.value)) == (422, message)
    assert caught.value.field == next(iter(arguments))


@pytest.mark.parametrize(("arguments", "field"), [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 5, "min_tokens": 6}, "min_tokens"),
    ({"stop": [""]}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": ["x"] * 17}, "stop"),
    ({"stop": "x" * 257}, "stop"),
    ({"stop_token_ids": [512]}, "stop_token_ids"),
    ({"stop_token_ids": [-1]}, "stop_token_ids"),
    ({"stop_token_ids": ["1"]}, "stop_token_ids"),
    ({"stop_token_ids": [1] * 257}, "stop_token_ids"),
    ({"temperature": 0, "top_p": 0.5}, "top_p"),
    ({"logit_bias": {512: 1.0}}, "logit_bias"),
    ({"banned_ids": range(512)}, "banned_ids"),
    ({"temperature": "hot"}, "temperature"),
])  # fmt: skip
def test_settings_that_make_no_sense_name_their_field(llm, arguments, field):
    with pytest.raises(RequestError) as caught:
        llm.stream(PROMPT, **arguments)
    assert caught.value.field == field


def test_a_model_that_computes_nan_says_so_and_keeps_nothing(stories, tmp_path):
    """A weight of the file is overwritten with NaN."""
    content = bytearray((stories / "stories260K-f32.gguf").read_bytes())
    model = LanguageModel.open(str(stories / "stories260K-f32.gguf"), n_threads=1)
    place = model.tensors["output_norm.weight"].offset
    content[place : place + 4] = b"\x00\x00\xc0\x7f"
    (tmp_path / "nan.gguf").write_bytes(content)
    broken = LanguageModel.open(str(tmp_path / "nan.gguf"), n_threads=1)
    for _ in range(2):
        with pytest.raises(RequestError, match="the model's logits must be finite") as caught:
            broken.generate(PROMPT)
        assert caught.value.status == 500
    with pytest.raises(RequestError, match="the model's logits must be finite"):
        list(broken.stream(PROMPT, temperature=0))
