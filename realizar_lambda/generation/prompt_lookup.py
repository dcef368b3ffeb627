"""Decoding several tokens at a time where the text repeats itself: prompt lookup. It draws nothing and knows no text.

What followed the last occurrence of the latest few ids is taken for a draft (Saxena, 2023), and evaluated together
with the token that is due: the weights are then read once for all of them. Whoever draws goes on as ever, a token at
a time from its logits. Where he draws what was drafted the next logits are there already; where not, what was
evaluated too much is forgotten.

So nothing of the answer depends on the draft: `Context.step_each` gives the logits of its tokens to the bit as one
step after the other does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from typing import Any

    from realizar_lambda.language_model import Context

LONGEST, SHORTEST = 3, 2
"""How many ids must occur again."""
TOGETHER = 4
"""Tokens of a pass at most: a row of weights is unpacked once for four, and a fifth costs nearly a pass of its own."""


class Repetitions:
    """Where each sequence of SHORTEST to LONGEST ids occurred last, and what came next."""

    __slots__ = ("_after", "_ids")

    def __init__(self, ids: array[int]) -> None:
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        for token in ids:
            self.append(token)

    def append(self, token: int) -> None:
        """One id more."""
        ids = self._ids
        n = len(ids)
        for length in range(SHORTEST, min(LONGEST, n) + 1):
            self._after[tuple(ids[-length:])] = n
        ids.append(token)

    def draft(self, most: int) -> list[int]:
        """`most` ids that followed the last occurrence of the longest sequence known; [] for none.

        An occurrence so near that its continuation ends before that is a cycle: it goes on as it began.
        """
        ids = self._ids
        for length in range(min(LONGEST, len(ids)), SHORTEST - 1, -1):
            place = self._after.get(tuple(ids[-length:]))
            if place is not None:
                period = len(ids) - place
                return [ids[place + i % period] for i in range(most)]
        return []


class Lookahead:
    """A context that is stepped as ever and evaluates drafts on the way. `step` is Context.step with the same answers.

    A draft is as long as twice the tokens that were foreseen in a row just now: none where the text is new.
    """

    __slots__ = ("_at", "_context", "_draft", "_foreseen", "_n_left", "_n_right", "_repetitions", "_rows")

    def __init__(self, context: Context, prompt_ids: array[int], *, n_steps: int) -> None:
        """For a context that holds `prompt_ids`; `step` will be called up to `n_steps` times."""
        self._context = context
        self._repetitions = Repetitions(prompt_ids)
        self._n_left = n_steps
        self._foreseen = self._repetitions.draft(1)
        self._n_right = 0
        self._draft: list[int] = []
        self._rows: list[memoryview[Any]] = []
        self._at = 0

    def step(self, token: int) -> memoryview[Any]:
        """The logits after `token`."""
        self._n_left -= 1
        self._n_right = self._n_right + 1 if self._foreseen == [token] else 0
        self._repetitions.append(token)
        context, draft, at = self._context, self._draft, self._at
        if at < len(draft) and draft[at] == token:
            self._at = at + 1
            self._foreseen = draft[at + 1 : at + 2] or self._repetitions.draft(1)
            return self._rows[at + 1]
        if at < len(draft):
            context.truncate(context.position - (len(draft) - at))
        most = min(2 * self._n_right, TOGETHER - 1, context.few - 1, self._n_left)
        draft = self._repetitions.draft(max(most, 1))
        self._foreseen = draft[:1]
        if most < 1 or not draft:
            self._draft = []
            self._at = 0
            return context.step(token)
        self._draft = draft
        self._at = 0
        self._rows = context.step_each([token, *draft])
        return self._rows[0]
