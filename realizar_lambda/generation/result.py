"""What a generation gives: its text, why it ended, what it used. Values only."""

from __future__ import annotations

from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STOP, LENGTH, TIMEOUT = "stop", "length", "timeout"


class Usage(namedtuple("Usage", "prompt_tokens completion_tokens total_tokens cached_tokens")):
    """Tokens of the prompt, of the completion, of both; of the prompt's, `cached_tokens` were not computed again."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """In OpenAI's shape."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Timings(namedtuple("Timings", "prefill_seconds decode_seconds tokens_per_second")):
    """Seconds until the prompt was computed and from then to the last token; tokens per second over the latter, of
    all tokens but the first, 0.0 where there is no other."""

    __slots__ = ()

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 6) for name, value in self._asdict().items()}


class Logprob(namedtuple("Logprob", "token_id logprob top")):
    """The natural logarithm of a drawn token's probability, and the best tokens as (token id, logarithm) in `top`."""

    __slots__ = ()


class Piece(namedtuple("Piece", "token_id text logprob", defaults=(None,))):
    """One drawn token and the text that it completes, often all of the token's, sometimes none.

    Text that could be the beginning of a stop string, or half a character, waits for a later piece. The last piece
    may hold what waited and no token: `token_id` is None then. `logprob` is a `Logprob` where they are asked for.
    """

    __slots__ = ()


class Generation(
    namedtuple("Generation", "text completion token_ids finish_reason usage timings logprobs", defaults=(None,))
):
    """A finished generation.

    `text` is the prompt's and the `completion`'s, `token_ids` the ids of both, without the stop token.
    `finish_reason` is "stop" (a stop token or string), "length" (max_tokens, or the context is full) or "timeout".
    `logprobs` is a list of `Logprob`, one per token of the completion, or None.
    """

    __slots__ = ()
