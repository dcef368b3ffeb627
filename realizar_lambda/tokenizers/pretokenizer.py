"""The splits before merging, compiled: which pieces of text merges may not cross. It does not know vocabularies.

A pre-tokenizer is a tuple of stages. Each stage splits every piece that the stage before it left, at the
matches of its pattern. What lies between two matches is a piece too, unless the stage drops gaps. The splitting
itself is native: kernels/splitting.py.
"""

from __future__ import annotations

from array import array

from realizar_lambda import ops
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.native import address
from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.automaton import Automaton
from realizar_lambda.tokenizers.byte_level import written_bytes
from realizar_lambda.tokenizers.character_sets import SetTable
from realizar_lambda.tokenizers.pattern import End, One, Repeat, Sequence, parse
from realizar_lambda.tokenizers.unicode_classes import ClassTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from realizar_lambda.tokenizers.pattern import Node


class Stage(namedtuple("Stage", "pattern keeps_gaps has_lines is_bytewise", defaults=(True, False, False))):
    """One split, at the matches of `pattern`.

    `has_lines`: `$` also is before a line feed. `is_bytewise`: the pattern is matched with the characters that write
    the bytes of the text, and no later stage may be without it.
    """

    __slots__ = ()


class PreTokenizer:
    """Compiled stages over one table of character classes.

    `classes` is the ClassTable, `byte_classes` (256,) u8 the class of each byte's character, `tables` the automata's
    tables, `stages` the stages' words as `ops.STAGE` has them.
    """

    __slots__ = ("byte_classes", "classes", "n_stages", "stages", "tables")

    def __init__(self, stages: Iterable[Stage]) -> None:
        """Raises UnsupportedError for a pattern that pattern.py does not understand."""
        stages = tuple(stages)
        sets = SetTable()
        trees = [parse(stage.pattern, sets, has_lines=stage.has_lines) for stage in stages]
        self.classes = ClassTable(sets.predicates, sets.ranges)
        if [stage.is_bytewise for stage in stages] != sorted(stage.is_bytewise for stage in stages):
            raise UnsupportedError("splitting characters after splitting bytes", "splitting bytes last")
        self.byte_classes = bytes(self.classes.class_of(ord(written_bytes(bytes((byte,))))) for byte in range(256))
        self.tables: list[array[int]] = []
        self.stages = array("q")
        self.n_stages = len(stages)
        for stage, tree in zip(stages, trees, strict=True):
            words = dict.fromkeys(ops.STAGE, 0)
            words.update(self._match_words(tree), keeps_gaps=stage.keeps_gaps, bytewise=stage.is_bytewise)
            self.stages.extend(words[name] for name in ops.STAGE)

    def _match_words(self, tree: Node) -> dict[str, int]:
        members, n_classes = self.classes.members, self.classes.n_classes
        trailing = _trailing_sets(tree)
        if trailing is not None:
            run, newline = trailing
            return {"trailing": members[run], "newlines": 0 if newline is None else members[newline] & members[run]}
        self.tables.append(Automaton(tree, members, n_classes).table)
        return {"table": address(self.tables[-1])}


def _trailing_sets(tree: Node) -> tuple[int, int | None] | None:
    """The numbers of the set and of the line feeds' in a pattern of the form `[set]+$`.

    Such a pattern is matched by runs: each character of a long run that ends nothing would start a scan of its own.
    """
    if not isinstance(tree, Sequence) or len(tree.nodes) != 2:
        return None
    repeat, end = tree.nodes
    if not isinstance(end, End) or not isinstance(repeat, Repeat) or (repeat.least, repeat.most) != (1, None):
        return None
    return (repeat.node.number, end.number) if isinstance(repeat.node, One) else None
