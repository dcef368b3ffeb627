"""Looks for stop strings in text that comes in pieces. It knows no tokens."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class StopStrings:
    """Lets text through until a stop string appears; what could be the beginning of one waits.

    The string that is complete first ends the text, the longest of those that end together; the text is cut before
    it. How the text is cut into pieces makes no difference. `is_stopped` says that one was found.
    """

    __slots__ = ("_beginnings", "_held", "_longest", "_strings", "is_stopped")

    def __init__(self, strings: Iterable[str]) -> None:
        self._strings = tuple(strings)
        self._beginnings = frozenset(text[:n] for text in self._strings for n in range(1, len(text)))
        self._longest = max(map(len, self._strings), default=1) - 1
        self._held = ""
        self.is_stopped = False

    def feed(self, text: str) -> str:
        """The text that can be shown after `text` came."""
        held = self._held + text
        ends = [(place + len(string), place) for string in self._strings if (place := held.find(string)) >= 0]
        if ends:
            self.is_stopped = True
            self._held = ""
            return held[: min(ends)[1]]
        for n in range(min(self._longest, len(held)), 0, -1):
            if held[-n:] in self._beginnings:
                self._held = held[-n:]
                return held[:-n]
        self._held = ""
        return held

    def finish(self) -> str:
        """What still waited when the text ended."""
        held, self._held = self._held, ""
        return held
