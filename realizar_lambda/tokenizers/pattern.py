"""The regular expressions of pre-tokenizers, parsed into a small tree; it does not know how they are matched.

What is understood: literals, escapes, `\\s \\S \\d \\D \\p{..} \\P{..}`, `[...]` with ranges, negation, nesting
and `&&`, alternation, groups (plain, `(?:...)`, `(?i:...)`), the greedy quantifiers, `$` as the end of the
text or of a line, and a look-ahead over one character: `(?=[..])`, `(?!\\S)`.
"""

from __future__ import annotations

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.record import namedtuple
from realizar_lambda.tokenizers.character_sets import (
    HAN,
    SEPARATORS,
    WHITE_SPACE,
    SetTable,
    both,
    either,
    in_categories,
    outside,
)
from realizar_lambda.tokenizers.unicode_classes import CATEGORIES, category_mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.tokenizers.unicode_classes import Predicate

MAX_LENGTH = 8192
MAX_REPEAT = 1000
SUPPORTED = "classes, groups, greedy quantifiers, $ and look-ahead over one character"
FOLDED = {"s": "\u017f", "k": "\u212a"}
"""Beyond upper and lower case: characters that are equal to a letter of ASCII where case is ignored."""
LITERAL_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}


class One(namedtuple("One", "number")):
    """One character of the set with this number in the SetTable."""

    __slots__ = ()


class Sequence(namedtuple("Sequence", "nodes")):
    """One after the other."""

    __slots__ = ()


class Choice(namedtuple("Choice", "nodes")):
    """The first that leads to a match."""

    __slots__ = ()


class Repeat(namedtuple("Repeat", "node least most")):
    """As often as possible, `least` to `most` times; `most` is None for no bound."""

    __slots__ = ()


class Ahead(namedtuple("Ahead", "number is_wanted")):
    """The next character is in the set, or (not wanted) is outside of it or there is none."""

    __slots__ = ()


class End(namedtuple("End", "number")):
    """The end of the text, or before a character of the set with this number where it is not None."""

    __slots__ = ()


Node = One | Sequence | Choice | Repeat | Ahead | End


def parse(text: str, sets: SetTable, *, has_lines: bool = False) -> Node:
    """The tree of the expression `text`, its sets added to `sets`.

    With `has_lines`, `$` also is before a line feed. Raises UnsupportedError for what is not understood.
    """
    if len(text) > MAX_LENGTH:
        raise UnsupportedError(f"a pattern of {len(text)} characters", f"at most {MAX_LENGTH}")
    parser = _Parser(text, sets, has_lines=has_lines)
    node = parser.choice(ignore_case=False, depth=0)
    if parser.position != len(text):
        raise parser.refuse("an unmatched )")
    return node


class _Parser:
    def __init__(self, text: str, sets: SetTable, *, has_lines: bool) -> None:
        self.text = text
        self.sets = sets
        self.has_lines = has_lines
        self.position = 0

    def refuse(self, what: str) -> UnsupportedError:
        return UnsupportedError(f"{what} at character {self.position} of the pattern {self.text!r}", SUPPORTED)

    def peek(self, token: str) -> bool:
        return self.text.startswith(token, self.position)

    def take(self, token: str) -> bool:
        found = self.peek(token)
        if found:
            self.position += len(token)
        return found

    def next(self) -> str:
        if self.position >= len(self.text):
            raise self.refuse("an unfinished expression")
        self.position += 1
        return self.text[self.position - 1]

    def choice(self, *, ignore_case: bool, depth: int) -> Node:
        if depth > 20:
            raise self.refuse("more than 20 nested groups")
        branches = [self.sequence(ignore_case=ignore_case, depth=depth)]
        while self.take("|"):
            branches.append(self.sequence(ignore_case=ignore_case, depth=depth))
        return branches[0] if len(branches) == 1 else Choice(branches)

    def sequence(self, *, ignore_case: bool, depth: int) -> Node:
        nodes: list[Node] = []
        while self.position < len(self.text) and not self.peek("|") and not self.peek(")"):
            node = self.atom(ignore_case=ignore_case, depth=depth)
            nodes.append(self.quantified(node))
        return nodes[0] if len(nodes) == 1 else Sequence(nodes)

    def quantified(self, node: Node) -> Node:
        if self.take("?"):
            bounds: tuple[int, int | None] = (0, 1)
        elif self.take("*"):
            bounds = (0, None)
        elif self.take("+"):
            bounds = (1, None)
        elif self.peek("{"):
            bounds = self.bounds()
        else:
            return node
        if self.peek("?") or self.peek("+"):
            raise self.refuse("a lazy or possessive quantifier")
        if self.peek("*") or self.peek("{"):
            raise self.refuse("a quantifier of a quantifier")
        return Repeat(node, *bounds)

    def bounds(self) -> tuple[int, int | None]:
        closing = self.text.find("}", self.position)
        low, comma, high = self.text[self.position + 1 : closing].partition(",")
        if closing < 0 or not low.isdecimal() or not (high.isdecimal() or not high):
            raise self.refuse("a malformed {n,m}")
        least = int(low)
        most = least if not comma else int(high) if high else None
        if least > MAX_REPEAT or (most is not None and not least <= most <= MAX_REPEAT):
            raise self.refuse(f"a repetition outside 0..{MAX_REPEAT}")
        self.position = closing + 1
        return least, most

    def atom(self, *, ignore_case: bool, depth: int) -> Node:
        start = self.position
        character = self.next()
        if character == "(":
            return self.group(ignore_case=ignore_case, depth=depth)
        if character == "$":
            return End(self.sets.number("\n", self.sets.span(10, 10)) if self.has_lines else None)
        if character in "?*+{^":
            self.position = start
            raise self.refuse(f"{character!r}")
        if character == "[":
            predicate = self.bracket(0, ignore_case=ignore_case)
        elif character == ".":
            predicate = outside(self.sets.span(10, 10))
        elif character == "\\":
            predicate = self.escape()
        else:
            predicate = self.literal(character, ignore_case=ignore_case)
        key = ("i" if ignore_case else "") + self.text[start : self.position]
        return One(self.sets.number(key, predicate))

    def group(self, *, ignore_case: bool, depth: int) -> Node:
        if self.take("?=") or self.peek("?!"):
            wanted = not self.take("?!")
            inner = self.choice(ignore_case=ignore_case, depth=depth + 1)
            if not isinstance(inner, One):
                raise self.refuse("a look-ahead over more than one character")
            node: Node = Ahead(inner.number, wanted)
        else:
            if self.take("?i:"):
                ignore_case = True
            elif not self.take("?:") and self.peek("?"):
                raise self.refuse("this kind of group")
            node = self.choice(ignore_case=ignore_case, depth=depth + 1)
        if not self.take(")"):
            raise self.refuse("a group that is not closed")
        return node

    def literal(self, character: str, *, ignore_case: bool) -> Predicate:
        points = {ord(character)}
        if ignore_case:
            forms = (character.lower(), character.upper(), FOLDED.get(character.lower(), ""))
            points |= {ord(form) for form in forms if len(form) == 1}
        return either([self.sets.span(point, point) for point in sorted(points)])

    def escape(self) -> Predicate:
        character = self.next()
        kind = character.lower()
        if kind == "s":
            predicate = either([in_categories(SEPARATORS), *(self.sets.span(*span) for span in WHITE_SPACE)])
        elif kind == "d":
            predicate = in_categories(1 << CATEGORIES["Nd"])
        elif kind == "p":
            predicate = self.property()
        elif character in LITERAL_ESCAPES:
            return self.literal(LITERAL_ESCAPES[character], ignore_case=False)
        elif character.isalnum():
            raise self.refuse(f"\\{character}")
        else:
            return self.literal(character, ignore_case=False)
        return outside(predicate) if character.isupper() else predicate

    def property(self) -> Predicate:
        closing = self.text.find("}", self.position)
        name = self.text[self.position + 1 : closing]
        if not self.peek("{") or closing < 0:
            raise self.refuse("a malformed \\p{..}")
        if name == "Han":
            predicate = either([self.sets.span(*span) for span in HAN])
        else:
            mask = category_mask(name)
            if mask is None:
                raise self.refuse(f"\\p{{{name}}}")
            predicate = in_categories(mask)
        self.position = closing + 1
        return predicate

    def bracket(self, depth: int, *, ignore_case: bool) -> Predicate:
        """The rest of a [...] whose first bracket is taken."""
        if depth > 8:
            raise self.refuse("more than 8 nested [")
        negated = self.take("^")
        parts: list[Predicate] = []
        required: Predicate | None = None
        while not self.take("]"):
            if self.take("&&"):
                found = either(parts)
                required = found if required is None else both(required, found)
                parts = []
                continue
            parts.append(self.bracket_part(depth, ignore_case=ignore_case))
        predicate = either(parts)
        if required is not None:
            predicate = both(required, predicate)
        return outside(predicate) if negated else predicate

    def bracket_part(self, depth: int, *, ignore_case: bool) -> Predicate:
        character = self.next()
        if character == "[":
            return self.bracket(depth + 1, ignore_case=ignore_case)
        if character == "\\":
            escaped = self.text[self.position : self.position + 1]
            if escaped.lower() in "sdp":
                return self.escape()
            character = self.escaped_literal()
        if not self.peek("-") or self.text[self.position + 1 : self.position + 2] in ("]", ""):
            return self.literal(character, ignore_case=ignore_case)
        if ignore_case:
            raise self.refuse("a range where case is ignored")
        self.position += 1
        last = self.next()
        if last == "\\":
            last = self.escaped_literal()
        if last < character:
            raise self.refuse(f"the range {character!r}-{last!r}, which is empty,")
        return self.sets.span(ord(character), ord(last))

    def escaped_literal(self) -> str:
        character = self.next()
        if character.isalnum() and character not in LITERAL_ESCAPES:
            raise self.refuse(f"\\{character}")
        return LITERAL_ESCAPES.get(character, character)
