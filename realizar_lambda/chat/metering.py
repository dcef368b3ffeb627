"""What a chat template may use up, counted while it renders. It knows no template's syntax.

A template comes with a model file and is as hostile as that. Every loop turn, call, comparison and filter is a step;
every value that a template makes is weighed, so that doubling one again and again ends early.
"""

from __future__ import annotations

from jinja2.utils import Namespace

from realizar_lambda.errors import UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

MAX_STEPS = 100_000
MAX_SECONDS = 2.0
MAX_WRITTEN = 1 << 23
MAX_WEIGHT = 1 << 22
ITEM_WEIGHT = 64
MAX_INTEGER_BITS = 256
STEPS_PER_LOOK = 256

SUPPORTED = (
    f"templates of at most {MAX_STEPS} steps, {MAX_SECONDS:g} seconds, {MAX_WRITTEN} characters written and values of "
    f"at most {MAX_WEIGHT} characters, an item counting as {ITEM_WEIGHT}"
)


class Meter:
    """What one rendering has left. `clock` gives seconds."""

    __slots__ = ("_clock", "_deadline", "_steps_left", "_written_left")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadline = clock() + MAX_SECONDS
        self._steps_left = MAX_STEPS
        self._written_left = MAX_WRITTEN

    def step(self) -> None:
        """Count a step. Raises UnsupportedError where there were too many or time is up."""
        self._steps_left -= 1
        if self._steps_left < 0:
            raise UnsupportedError("a chat template that takes more steps than that", SUPPORTED)
        if self._steps_left % STEPS_PER_LOOK == 0 and self._clock() > self._deadline:
            raise UnsupportedError("a chat template that takes longer than that", SUPPORTED)

    def written(self, value: object) -> str:
        """The text of a value that is written."""
        text = value if isinstance(value, str) else str(self.weighed(value))
        self._written_left -= len(text)
        self.step()
        if self._written_left < 0:
            raise UnsupportedError("a chat template that writes more than that", SUPPORTED)
        return text

    def weighed(self, value: Any) -> Any:
        """The value, if it is not too heavy."""
        self.step()
        if not isinstance(value, (bool, float, type(None))):
            check_weight(self._weight(value))
        return value

    def concatenated(self, values: Iterable[object]) -> str:
        """The texts of the values, joined."""
        texts = [value if isinstance(value, str) else str(self.weighed(value)) for value in values]
        check_weight(sum(map(len, texts)))
        self.step()
        return "".join(texts)

    def counted(self, items: Any) -> Counted:
        """The items of a loop, each turn a step."""
        return Counted(items, self)

    def _weight(self, value: object) -> int:
        """Characters and items in a value, all the way down; more than MAX_WEIGHT as soon as it is more."""
        weight, waiting, n_steps = 0, [value], 0
        while waiting and weight <= MAX_WEIGHT:
            found = waiting.pop()
            n_steps += 1
            if n_steps % 4096 == 0:
                self.step()
            weight += ITEM_WEIGHT
            if isinstance(found, (str, bytes)):
                weight += len(found)
            elif isinstance(found, dict):
                waiting.extend(found.values())
                waiting.extend(found)
            elif isinstance(found, (list, tuple, set, frozenset)):
                waiting.extend(found)
            elif isinstance(found, Namespace):
                waiting.extend(object.__getattribute__(found, "_Namespace__attrs").values())
            elif isinstance(found, int) and found.bit_length() > MAX_INTEGER_BITS:
                weight += MAX_WEIGHT
        return weight


class Counted:
    """An iterable whose items are steps of a meter; as long as what it iterates over."""

    __slots__ = ("_items", "_meter")

    def __init__(self, items: Any, meter: Meter) -> None:
        self._items = items
        self._meter = meter

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[object]:
        for item in self._items:
            self._meter.step()
            yield item


def check_weight(weight: int) -> None:
    """Raise UnsupportedError where a value would be heavier than one may be."""
    if weight > MAX_WEIGHT:
        raise UnsupportedError("a chat template that makes a larger value than that", SUPPORTED)
