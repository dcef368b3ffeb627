"""Stages of a pre-tokenizer turned into tables: classes of characters, and a table of states for each pattern.

It does not know where the tables are kept or used: what it makes is plain bytes and numbers, so that packaging can
store them.
"""

from __future__ import annotations

from realizar_lambda import ops
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.tokenizers.automaton import Automaton
from realizar_lambda.tokenizers.byte_level import written_bytes
from realizar_lambda.tokenizers.character_sets import SetTable
from realizar_lambda.tokenizers.pattern import End, One, Repeat, Sequence, parse
from realizar_lambda.tokenizers.unicode_classes import ClassTable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tokenizers.pattern import Node
    from realizar_lambda.tokenizers.pretokenizer import Compiled, Stage


def compile_stages(stages: tuple[Stage, ...]) -> Compiled:
    """(class index, class pages, number of classes, class of each byte's character, a row per stage).

    A row is (table, words): the automaton's table or nothing, and the stage's words as `ops.STAGE` has them, the
    table's address aside. Raises UnsupportedError for a pattern that pattern.py does not understand.
    """
    sets = SetTable()
    trees = [parse(stage.pattern, sets, has_lines=stage.has_lines) for stage in stages]
    classes = ClassTable(sets.predicates, sets.ranges)
    if [stage.is_bytewise for stage in stages] != sorted(stage.is_bytewise for stage in stages):
        raise UnsupportedError("splitting characters after splitting bytes", "splitting bytes last")
    byte_classes = bytes(classes.class_of(ord(written_bytes(bytes((byte,))))) for byte in range(256))
    rows = []
    for stage, tree in zip(stages, trees, strict=True):
        words = {**dict.fromkeys(ops.STAGE, 0), "keeps_gaps": stage.keeps_gaps, "bytewise": stage.is_bytewise}
        trailing = _trailing_sets(tree)
        if trailing is None:
            table = Automaton(tree, classes.members, classes.n_classes).table.tobytes()
        else:
            run, newline = (0 if number is None else classes.members[number] for number in trailing)
            words |= {"trailing": run, "newlines": newline & run}
            table = b""
        rows.append((table, tuple(int(words[name]) for name in ops.STAGE)))
    return classes.index, classes.pages, classes.n_classes, byte_classes, tuple(rows)


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
