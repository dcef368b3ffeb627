from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from realizar_lambda.generation.stop_strings import StopStrings


def run(strings, pieces):
    """(what was shown after each piece, what was left, whether it was stopped)."""
    stops = StopStrings(strings)
    shown = []
    for piece in pieces:
        shown.append(stops.feed(piece))
        if stops.is_stopped:
            break
    return shown, stops.finish(), stops.is_stopped


def test_text_without_a_beginning_of_a_stop_string_is_shown_at_once():
    assert run(["END"], ["one ", "two ", "three"]) == (["one ", "two ", "three"], "", False)


def test_what_could_be_the_beginning_waits_until_it_is_decided():
    assert run(["END"], ["say E", "N", "D", "x"]) == (["say ", "", ""], "", True)
    assert run(["END"], ["say E", "N", "d"]) == (["say ", "", "ENd"], "", False)
    assert run(["END"], ["say EN", "EN", "D"]) == (["say ", "EN", ""], "", True)


def test_what_still_waits_at_the_end_is_given_then():
    assert run(["END"], ["the E"]) == (["the "], "E", False)


def test_the_string_that_is_complete_first_decides_and_the_longest_of_those_that_end_together():
    assert run(["abcd", "bc"], ["xabcd"]) == (["xa"], "", True)
    assert run(["abc", "bc"], ["xabcd"]) == (["x"], "", True)
    assert run(["aaaa", "b"], ["aaab"]) == (["aaa"], "", True)


def expected(strings, text):
    """By the definition: the shortest beginning of the text that ends with a stop string, cut before the longest."""
    for end in range(len(text) + 1):
        matches = [string for string in strings if text[:end].endswith(string)]
        if matches:
            return text[: end - max(map(len, matches))], True
    return text, False


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    strings=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
    pieces=st.lists(st.text("abc", max_size=6), max_size=8),
)
def test_how_a_text_is_cut_makes_no_difference(strings, pieces):
    shown, rest, is_stopped = run(strings, pieces)
    assert ("".join(shown) + rest, is_stopped) == expected(strings, "".join(pieces))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    strings=st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4),
    pieces=st.lists(st.text("abc", max_size=6), min_size=1, max_size=8),
)
def test_no_more_waits_than_must(strings, pieces):
    """What was held back after each piece is the longest end of the text that a stop string begins with."""
    stops, text, shown = StopStrings(strings), "", ""
    for piece in pieces:
        text, shown = text + piece, shown + stops.feed(piece)
        if stops.is_stopped:
            break
        ends = [text[-n:] for n in range(1, len(text) + 1)]
        possible = [end for end in ends if any(len(end) < len(s) and s.startswith(end) for s in strings)]
        assert text == shown + max(possible, key=len, default="")
