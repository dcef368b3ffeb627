"""The splits before merging, compiled: which pieces of text merges may not cross. It does not know vocabularies.

A pre-tokenizer is a tuple of stages. Each stage splits every piece that the stage before it left, at the
matches of its pattern. What lies between two matches is a piece too, unless the stage drops gaps. The splitting
itself is native: kernels/splitting.py. A package holds the most common compiled; others are when they are used.
"""

from __future__ import annotations

from array import array

from realizar_lambda import ops
from realizar_lambda.native import address
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Compiled = tuple[bytes, bytes, int, bytes, tuple[tuple[bytes, tuple[int, ...]], ...]]

STORED = f"{__file__.rpartition('/')[0]}/pretokenizers.bin"
"""What packaging compiled, {stages: Compiled} marshalled: a first token came after 28.4 instead of 30.8 ms."""


class Stage(namedtuple("Stage", "pattern keeps_gaps has_lines is_bytewise", defaults=(True, False, False))):
    """One split, at the matches of `pattern`.

    `has_lines`: `$` also is before a line feed. `is_bytewise`: the pattern is matched with the characters that write
    the bytes of the text, and no later stage may be without it.
    """

    __slots__ = ()


class PreTokenizer:
    """Compiled stages over one table of character classes.

    `class_index` and `class_pages` are a ClassTable's, `byte_classes` (256,) u8 the class of each byte's character,
    `tables` the automata's tables, `stages` the stages' words as `ops.STAGE` has them.
    """

    __slots__ = ("byte_classes", "class_index", "class_pages", "n_classes", "n_stages", "stages", "tables")

    def __init__(self, stages: Iterable[Stage], *, stored: str = STORED) -> None:
        """Raises UnsupportedError for a pattern that pattern.py does not understand."""
        stages = tuple(stages)
        compiled = stored_stages(stored).get(stages) or _compiled(stages)
        self.class_index, self.class_pages, self.n_classes, self.byte_classes, rows = compiled
        self.tables: list[bytes] = []
        self.stages = array("q")
        self.n_stages = len(stages)
        for table, words in rows:
            self.stages.extend(words)
            if table:
                self.tables.append(table)
                self.stages[ops.STAGE["table"] - len(ops.STAGE)] = address(table)


def stored_stages(path: str) -> dict[tuple[Stage, ...], Compiled]:
    """What packaging compiled; nothing in a source checkout."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    import marshal

    found: dict[tuple[Stage, ...], Compiled] = marshal.loads(content)
    return found


def _compiled(stages: tuple[Stage, ...]) -> Compiled:
    from realizar_lambda.tokenizers.stage_compiler import compile_stages

    return compile_stages(stages)
