"""A pattern turned into a table of states that finds the match a backtracking matcher would find, in one pass.

It does not know what the pieces of text are for. A state is an ordered list of places in the pattern, the
preferred first; the next character's class decides which of them go on. A place that completes the pattern
drops all that are less preferred than it, so the last completion that the scan passes is the match.
"""

from __future__ import annotations

from array import array

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.tokenizers.pattern import Ahead, Choice, End, One, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tokenizers.pattern import Node

MAX_STATES = 4096
MAX_STEPS = 16384
START = 1
MATCHED = 1

_TAKE, _FORK, _AHEAD, _END, _ACCEPT = range(5)


class Automaton:
    """`table[state * (n_classes + 1) + class]` is `next_state * 2 + MATCHED`, u16.

    MATCHED says that the pattern is complete before the character just read. Class `n_classes` is the end of
    the text. State 0 is dead, state START the first.
    """

    __slots__ = ("n_classes", "table")

    def __init__(self, node: Node, members: list[int], n_classes: int) -> None:
        """`members[i]` has the bits of the classes in set i."""
        steps: list[tuple[int, ...]] = []
        _emit(node, steps)
        steps.append((_ACCEPT,))
        self.n_classes = n_classes
        self.table = array("H")
        numbers: dict[tuple[int, ...], int] = {(): 0, (0,): START}
        waiting = [(), (0,)]
        for state in waiting:
            for symbol in range(n_classes + 1):
                places, is_match = _follow(steps, state, 1 << symbol, members, is_end=symbol == n_classes)
                number = numbers.get(places)
                if number is None:
                    number = numbers[places] = len(numbers)
                    waiting.append(places)
                    if number >= MAX_STATES:
                        raise UnsupportedError("a pattern of more states", f"up to {MAX_STATES} states")
                self.table.append(number * 2 + (MATCHED if is_match else 0))


def _emit(node: Node, steps: list[tuple[int, ...]]) -> None:
    """Append the steps of a tree: (_TAKE, set), (_FORK, preferred, other), (_AHEAD, set, wanted), (_END,)."""
    if len(steps) > MAX_STEPS:
        raise UnsupportedError("a pattern of more steps", f"up to {MAX_STEPS} steps")
    if isinstance(node, One):
        steps.append((_TAKE, node.number))
    elif isinstance(node, Ahead):
        steps.append((_AHEAD, node.number, int(node.is_wanted)))
    elif isinstance(node, End):
        steps.append((_END,) if node.number is None else (_END, node.number))
    elif isinstance(node, Sequence):
        for inner in node.nodes:
            _emit(inner, steps)
    elif isinstance(node, Choice):
        _emit_choice(node.nodes, steps)
    else:
        _emit_repeat(node.node, node.least, node.most, steps)


def _emit_choice(branches: list[Node], steps: list[tuple[int, ...]]) -> None:
    exits = []
    for branch in branches[:-1]:
        fork = len(steps)
        steps.append(())
        _emit(branch, steps)
        exits.append(len(steps))
        steps.append(())
        steps[fork] = (_FORK, fork + 1, len(steps))
    _emit(branches[-1], steps)
    for exit_ in exits:
        steps[exit_] = (_FORK, len(steps), len(steps))


def _emit_repeat(node: Node, least: int, most: int | None, steps: list[tuple[int, ...]]) -> None:
    for _ in range(least):
        _emit(node, steps)
    if most is None:
        fork = len(steps)
        steps.append(())
        _emit(node, steps)
        steps.append((_FORK, fork, fork))
        steps[fork] = (_FORK, fork + 1, len(steps))
        return
    forks = []
    for _ in range(most - least):
        forks.append(len(steps))
        steps.append(())
        _emit(node, steps)
    for fork in forks:
        steps[fork] = (_FORK, fork + 1, len(steps))


def _follow(
    steps: list[tuple[int, ...]], state: tuple[int, ...], symbol: int, members: list[int], *, is_end: bool
) -> tuple[tuple[int, ...], bool]:
    """The places after one character (`symbol` is its class's bit), and whether the pattern was complete."""
    places: dict[int, None] = {}
    seen: set[int] = set()
    stack = list(reversed(state))
    while stack:
        place = stack.pop()
        if place in seen:
            continue
        seen.add(place)
        step = steps[place]
        kind = step[0]
        if kind == _TAKE:
            if members[step[1]] & symbol:
                places[place + 1] = None
        elif kind == _FORK:
            stack.append(step[2])
            stack.append(step[1])
        elif kind == _AHEAD:
            if bool(members[step[1]] & symbol) == bool(step[2]):
                stack.append(place + 1)
        elif kind == _END:
            if is_end or (len(step) == 2 and members[step[1]] & symbol):
                stack.append(place + 1)
        else:
            return tuple(places), True
    return tuple(places), False
