"""Splitting text into the pieces that BPE merges may not cross; it does not know vocabularies.

A pre-tokenizer is a tuple of stages. Each stage splits every piece that the stage before it left, at the
matches of its pattern. What lies between two matches is a piece too, unless the stage drops gaps.
"""

from __future__ import annotations

from array import array
from collections import namedtuple

from realizar_lambda.tokenizers.automaton import START, Automaton
from realizar_lambda.tokenizers.pattern import End, One, Repeat, Sequence, SetTable, parse
from realizar_lambda.tokenizers.unicode_classes import ClassTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from realizar_lambda.tokenizers.pattern import Node


class Stage(namedtuple("Stage", "pattern keeps_gaps", defaults=(True,))):
    """One split, at the matches of `pattern`."""

    __slots__ = ()


class CompiledStage(namedtuple("CompiledStage", "table trailing keeps_gaps")):
    """`table` is an Automaton's; where it is empty the one match is the last run of the classes `trailing`.

    `trailing` is a bit mask of classes.
    """

    __slots__ = ()


class PreTokenizer:
    """Compiled stages over one table of character classes.

    `classes` is the ClassTable; `stages` are CompiledStages.
    """

    __slots__ = ("_class_of", "classes", "stages")

    def __init__(self, stages: Iterable[Stage]) -> None:
        """Raises UnsupportedError for a pattern that pattern.py does not understand."""
        stages = tuple(stages)
        sets = SetTable()
        trees = [parse(stage.pattern, sets) for stage in stages]
        self.classes = ClassTable(sets.predicates, sets.ranges)
        self.stages = [self._compile(stage, tree) for stage, tree in zip(stages, trees, strict=True)]
        self._class_of = _ClassCache(self.classes)

    def _compile(self, stage: Stage, tree: Node) -> CompiledStage:
        members, n_classes = self.classes.members, self.classes.n_classes
        run = _trailing_set(tree)
        if run is not None:
            return CompiledStage(array("H"), members[run], stage.keeps_gaps)
        return CompiledStage(Automaton(tree, members, n_classes).table, 0, stage.keeps_gaps)

    def split(self, text: str) -> list[str]:
        """The pieces of `text`, in order; none is empty."""
        classes = bytes(map(self._class_of.__getitem__, text))
        spans = [(0, len(text))] if text else []
        for stage in self.stages:
            found: list[tuple[int, int]] = []
            for start, end in spans:
                found.extend(self._stage_spans(stage, classes, start, end))
            spans = found
        return [text[start:end] for start, end in spans]

    def _stage_spans(self, stage: CompiledStage, classes: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        if stage.table:
            matches = _matches(stage.table, self.classes.n_classes, classes, start, end)
        else:
            matches = _trailing_run(stage.trailing, classes, start, end)
        done = start
        for first, last in matches:
            if first > done and stage.keeps_gaps:
                yield done, first
            yield first, last
            done = last
        if done < end and stage.keeps_gaps:
            yield done, end


class _ClassCache(dict[str, int]):
    """The class of each character seen so far."""

    def __init__(self, classes: ClassTable) -> None:
        super().__init__()
        self._classes = classes

    def __missing__(self, character: str) -> int:
        number = self[character] = self._classes.class_of(ord(character))
        return number


def _trailing_set(tree: Node) -> int | None:
    """The number of the set in a pattern of the form `[set]+$`.

    Such a pattern is matched backwards: forwards, each character of a long run that does not end the text
    would start a scan of its own.
    """
    if not isinstance(tree, Sequence) or len(tree.nodes) != 2:
        return None
    repeat, end = tree.nodes
    if not isinstance(end, End) or not isinstance(repeat, Repeat) or (repeat.least, repeat.most) != (1, None):
        return None
    return repeat.node.number if isinstance(repeat.node, One) else None


def _matches(table: array[int], n_classes: int, classes: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The leftmost matches, one after the other; empty ones are not matches."""
    width = n_classes + 1
    position = start
    while position < end:
        state, place, last = START, position, position
        while state:
            symbol = classes[place] if place < end else n_classes
            entry = table[state * width + symbol]
            if entry & 1:
                last = place
            if place == end:
                break
            state = entry >> 1
            place += 1
        if last > position:
            yield position, last
            position = last
        else:
            position += 1


def _trailing_run(mask: int, classes: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = end
    while first > start and mask >> classes[first - 1] & 1:
        first -= 1
    if first < end:
        yield first, end
