from __future__ import annotations

import math

import pytest

from realizar_lambda.errors import RequestError
from realizar_lambda.sampling import SamplingSettings
from realizar_lambda.sampling.settings import COUNTS, NUMBERS, STRATEGIES


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_out_of_its_range_is_refused_with_the_range(field):
    allowed = NUMBERS[field]
    for value in (allowed.high + 0.1, allowed.low - 0.1, math.nan, math.inf, -math.inf, 10**400):
        with pytest.raises(RequestError) as caught:
            SamplingSettings(**{field: value})
        fault = caught.value
        assert (fault.status, fault.field) == (400, field)
        assert f"{field} must be in {allowed}, got " in fault.message


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [True, "1", None, [1.0]])
def test_what_is_no_number_is_of_the_wrong_type(field, value):
    with pytest.raises(RequestError) as caught:
        SamplingSettings(**{field: value})
    assert (caught.value.status, caught.value.field) == (422, field)


@pytest.mark.parametrize("field", [*COUNTS, "seed", "logprobs"])
@pytest.mark.parametrize("value", [True, "1", 1.0, [1]])
def test_a_count_must_be_an_integer(field, value):
    with pytest.raises(RequestError) as caught:
        SamplingSettings(**{field: value})
    assert (caught.value.status, caught.value.field) == (422, field)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("top_k", -1, "top_k must be an integer in [0, 2147483647], got -1"),
    ("min_tokens", -5, "min_tokens must be an integer in [0, 2147483647], got -5"),
    ("penalty_window", 0, "penalty_window must be an integer in [1, 2147483647], got 0"),
    ("logprobs", 21, "logprobs must be an integer in [0, 20], got 21"),
    ("seed", 10**400, "seed must be an integer in [-9223372036854775808, 9223372036854775807], got a larger one"),
    ("temperature", 1e-31, "temperature must be 0 or at least 1e-30, got 1e-31"),
    ("banned_ids", [-1], "banned_ids[0] must be an integer in [0, 2147483647], got -1"),
    ("banned_ids", [0, "1"], "banned_ids[1] must be an integer, got '1'"),
    ("banned_ids", "12", "banned_ids must be a list of token ids, got '12'"),
    ("logit_bias", {5: 100.5}, "logit_bias[5] must be in [-100, 100], got 100.5"),
    ("logit_bias", {"five": 1.0}, "logit_bias key 'five' must be an integer, got 'five'"),
    ("logit_bias", [1], "logit_bias must map token ids to numbers, got [1]"),
    ("logit_bias", dict.fromkeys(range(1025), 0.0), "logit_bias must have at most 1024 entries, got 1025"),
])  # fmt: skip
def test_a_bad_value_is_named_with_what_is_allowed(field, value, message):
    with pytest.raises(RequestError) as caught:
        SamplingSettings(**{field: value})
    assert caught.value.message == message
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(("field", "value"), [("top_p", 0.9), ("top_k", 2), ("min_p", 0.1), ("typical_p", 0.5)])
def test_a_truncation_contradicts_temperature_zero(field, value):
    with pytest.raises(RequestError) as caught:
        SamplingSettings(temperature=0, **{field: value})
    assert caught.value.field == field
    assert "where temperature is 0" in caught.value.message
    assert SamplingSettings(temperature=0, top_k=1, top_p=1.0).is_greedy


def test_an_id_cannot_be_both_banned_and_biased():
    with pytest.raises(RequestError, match="logit_bias has id 7, which banned_ids bans"):
        SamplingSettings(logit_bias={"7": 1.0, 8: 1.0}, banned_ids=[7, 9])


def test_ids_past_the_vocabulary_are_found_when_it_is_known():
    with pytest.raises(RequestError, match=r"logit_bias must hold ids in \[0, 5\), got 5"):
        SamplingSettings(logit_bias={5: 1.0}).check_vocabulary(5)
    with pytest.raises(RequestError, match=r"banned_ids must hold ids in \[0, 5\), got 9"):
        SamplingSettings(banned_ids=[1, 9]).check_vocabulary(5)
    with pytest.raises(RequestError, match="banned_ids must leave a token, it bans all 5"):
        SamplingSettings(banned_ids=range(5)).check_vocabulary(5)


def test_ids_of_a_bias_may_be_digits_as_json_has_them():
    assert SamplingSettings(logit_bias={"12": 1, 3: -2.5}).logit_bias == {12: 1.0, 3: -2.5}


def test_a_strategy_uses_the_fields_it_has_a_use_for():
    given = {"temperature": 0.5, "top_k": 7, "top_p": 0.3, "min_p": 0.1}
    used = {name: SamplingSettings.from_strategy(name, **given) for name in STRATEGIES}
    fields = {
        name: (made.temperature, made.top_k, made.top_p, made.min_p) for name, made in used.items()
    }  # fmt: skip
    assert fields == {
        "greedy": (0.0, 0, 1.0, 0.0),
        "top_k": (0.5, 7, 1.0, 0.1),
        "top_p": (0.5, 0, 0.3, 0.1),
        "sample": (0.5, 0, 1.0, 0.1),
    }
    assert SamplingSettings.from_strategy().is_greedy
    assert SamplingSettings.from_strategy("top_p", temperature=0).is_greedy


def test_a_strategy_checks_the_fields_it_has_no_use_for():
    for field, value in (("temperature", 3), ("top_k", -1), ("top_p", 0), ("min_p", "x")):
        with pytest.raises(RequestError) as caught:
            SamplingSettings.from_strategy("greedy", **{field: value})
        assert caught.value.field == field
    with pytest.raises(RequestError, match="strategy must be one of greedy, top_k, top_p, sample, got 'best'"):
        SamplingSettings.from_strategy("best")
