"""What is asked of a generation, checked. It knows no model."""

from __future__ import annotations

from array import array

from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar_lambda.sampling import SamplingSettings

MAX_STOP_STRINGS = 16
MAX_STOP_CHARACTERS = 256
MAX_STOP_TOKEN_IDS = 256
UNORDERED = (bytes, bytearray, dict, set, frozenset)
"""What has a length and is neither text nor a list."""


class Request:
    """A prompt, as text or as token ids, and when to stop. RequestError names the field that is wrong.

    `prompt_lookup` computes several tokens at a time where the text repeats itself (prompt_lookup.py);
    `deadline` is on `time.monotonic`, in seconds; `share_key` names who may share computed prefixes (contexts.py).
    """

    __slots__ = (
        "add_special",
        "deadline",
        "ignore_eos",
        "max_tokens",
        "parse_special",
        "prompt",
        "prompt_lookup",
        "settings",
        "share_key",
        "stop",
        "stop_token_ids",
    )

    def __init__(
        self,
        prompt: str | Sequence[int],
        settings: SamplingSettings,
        *,
        max_tokens: int | None = 50,
        stop: str | Sequence[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        prompt_lookup: bool = False,
        deadline: float | None = None,
        share_key: str | None = "",
        add_special: bool = True,
        parse_special: bool = False,
    ) -> None:
        if isinstance(prompt, UNORDERED) or not hasattr(prompt, "__len__"):
            raise RequestError(422, f"prompt must be text or token ids, got {type(prompt).__name__}", "prompt")
        if max_tokens is not None:
            if isinstance(max_tokens, bool) or not isinstance(max_tokens, int):
                raise RequestError(422, f"max_tokens must be an integer, got {max_tokens!r:.40}", "max_tokens")
            if max_tokens < 1:
                raise RequestError(400, f"max_tokens must be at least 1, got {max_tokens}", "max_tokens")
            if settings.min_tokens > max_tokens:
                raise RequestError(
                    400, f"min_tokens must be at most max_tokens, {max_tokens}, got {settings.min_tokens}", "min_tokens"
                )
        self.prompt = prompt
        self.settings = settings
        self.max_tokens = max_tokens
        self.stop = stop_strings(stop)
        self.stop_token_ids = _stop_ids(stop_token_ids)
        self.ignore_eos = ignore_eos
        if not isinstance(prompt_lookup, bool):
            raise RequestError(422, f"prompt_lookup must be true or false, got {prompt_lookup!r:.40}", "prompt_lookup")
        if deadline is not None and (type(deadline) not in (int, float) or deadline != deadline):
            raise RequestError(422, f"deadline must be a time in seconds, got {deadline!r:.40}", "deadline")
        if share_key is not None and not isinstance(share_key, str):
            raise RequestError(422, f"share_key must be a string or None, got {share_key!r:.40}", "share_key")
        self.prompt_lookup = prompt_lookup
        self.deadline = deadline
        self.share_key = share_key
        self.add_special = add_special
        self.parse_special = parse_special


def stop_strings(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop strings, none of them empty. Raises RequestError for too many, and for too long ones."""
    if stop is None:
        return ()
    if isinstance(stop, UNORDERED) or not hasattr(stop, "__iter__"):
        raise RequestError(422, f"stop must be a string or a list of strings, got {type(stop).__name__}", "stop")
    found = (stop,) if isinstance(stop, str) else tuple(stop)
    if len(found) > MAX_STOP_STRINGS:
        raise RequestError(400, f"stop must hold at most {MAX_STOP_STRINGS} strings, got {len(found)}", "stop")
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise RequestError(422, f"stop[{number}] must be a string, got {type(text).__name__}", "stop")
        if not 1 <= len(text) <= MAX_STOP_CHARACTERS:
            raise RequestError(
                400, f"stop[{number}] must have 1 to {MAX_STOP_CHARACTERS} characters, it has {len(text)}", "stop"
            )
    return found


def _stop_ids(ids: Sequence[int]) -> tuple[int, ...]:
    if isinstance(ids, UNORDERED) or not hasattr(ids, "__len__"):
        message = f"stop_token_ids must be a list of token ids, got {type(ids).__name__}"
        raise RequestError(422, message, "stop_token_ids")
    if len(ids) > MAX_STOP_TOKEN_IDS:
        message = f"stop_token_ids must hold at most {MAX_STOP_TOKEN_IDS} ids, got {len(ids)}"
        raise RequestError(400, message, "stop_token_ids")
    try:
        return tuple(array("i", ids))
    except (TypeError, OverflowError):
        raise RequestError(422, "stop_token_ids must be integers of 32 bits", "stop_token_ids") from None
