"""Records: everything that `collections.namedtuple` promises, from the same declaration."""

from __future__ import annotations

import collections
import copy
import pickle

import pytest

from realizar_lambda.record import namedtuple


class Theirs(collections.namedtuple("Theirs", "name width rows", defaults=(1, None))):
    __slots__ = ()


class Ours(namedtuple("Ours", "name width rows", defaults=(1, None))):
    __slots__ = ()

    @property
    def area(self):
        return self.width * self.rows


BOTH = pytest.mark.parametrize("kind", [Theirs, Ours])


@BOTH
def test_values_are_given_by_place_by_name_and_by_default(kind):
    assert tuple(kind("a")) == ("a", 1, None)
    assert tuple(kind("a", rows=3)) == ("a", 1, 3)
    assert tuple(kind(rows=3, width=2, name="a")) == ("a", 2, 3)
    assert kind("a", 2, 3).width == 2
    assert kind._make(["a", 2, 3]) == kind("a", 2, 3) == ("a", 2, 3)


@BOTH
@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((), {"width": 1}), (("a", 1, 2, 3), {}), (("a",), {"name": "b"}), (("a",), {"depth": 1})],
)
def test_values_that_do_not_fit_are_refused(kind, values, named):
    with pytest.raises(TypeError):
        kind(*values, **named)


@BOTH
def test_a_record_is_a_tuple_that_cannot_be_changed(kind):
    found = kind("a", 2, 3)
    name, *rest = found
    assert (name, rest, found[1:], hash(found)) == ("a", [2, 3], (2, 3), hash(("a", 2, 3)))
    with pytest.raises(AttributeError):
        found.width = 5
    with pytest.raises(AttributeError):
        found.other = 5


@BOTH
def test_a_record_is_replaced_copied_pickled_and_matched(kind):
    found = kind("a", 2, 3)
    assert found._replace(width=5) == ("a", 5, 3)
    assert type(found._replace(width=5)) is kind
    with pytest.raises(ValueError, match="depth"):
        found._replace(depth=5)
    for copied in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert (copied, type(copied)) == (found, kind)
    match found:
        case kind(name, width=width):
            assert (name, width) == ("a", 2)
    assert found._asdict() == {"name": "a", "width": 2, "rows": 3}
    assert (kind._fields, kind._field_defaults) == (("name", "width", "rows"), {"width": 1, "rows": None})
    assert repr(found) == f"{kind.__name__}(name='a', width=2, rows=3)"


def test_a_class_adds_what_it_likes():
    assert Ours("a", 2, 3).area == 6
