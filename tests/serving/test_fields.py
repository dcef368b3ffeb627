"""Tables of fields: types by name, defaults, and numbers checked as f32."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.fields import F32_MAX, Features, Flag, Group, Integer, Text, is_finite_f32, read_fields

FIELDS = {"text": Text(is_required=True), "n": Integer(low=2, default=5), "group": Group({"on": Flag(default=True)})}


def test_defaults_are_filled_in_to_every_depth():
    assert read_fields({"text": "x"}, FIELDS) == {"text": "x", "n": 5, "group": {"on": True}}


def test_a_field_is_named_with_where_it_is():
    with pytest.raises(RequestError) as caught:
        read_fields({"text": "x", "group": {"on": "yes"}}, FIELDS, "instances[3]")
    assert caught.value.field == "instances[3].group.on"
    assert str(caught.value) == "instances[3].group.on must be true or false, got a string"


@settings(max_examples=150, deadline=None, derandomize=True)
@given(values=st.lists(st.integers() | st.floats() | st.just(10**400) | st.just(F32_MAX), max_size=6))
def test_features_pass_exactly_when_each_is_finite_as_f32(values):
    is_good = all(-F32_MAX <= value <= F32_MAX for value in values)
    if is_good:
        assert Features().read(values, "features") is values
    else:
        with pytest.raises(RequestError, match=r"features\[\d\] must be finite"):
            Features().read(values, "features")


@pytest.mark.parametrize("values", [[math.nan, 1.0], [1.0, math.inf], [-math.inf], [math.inf, -math.inf], [10**309]])
def test_what_is_not_finite_is_seen_at_any_place(values):
    assert not is_finite_f32(values)
