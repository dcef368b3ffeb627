"""What a caller may ask of sampling, checked when it is made. It knows no model but the size of its vocabulary."""

from __future__ import annotations

from array import array

from realizar_lambda.errors import RequestError
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LOGIT_BIAS = 1024
MAX_TOP_LOGPROBS = 20
MAX_BANNED_IDS = 1 << 16
LEAST_TEMPERATURE = 1e-30
SEED_LIMIT = 1 << 63
STRATEGIES = ("greedy", "top_k", "top_p", "sample")


class Range(namedtuple("Range", "low has_low high")):
    """Numbers from `low` (itself allowed where `has_low`) up to and including `high`."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and (
            self.low < value <= self.high or bool(self.has_low and value == self.low)
        )

    def __str__(self) -> str:
        return f"{'[' if self.has_low else '('}{self.low:g}, {self.high:g}]"


NUMBERS = {
    "temperature": Range(0.0, True, 2.0),
    "top_p": Range(0.0, False, 1.0),
    "min_p": Range(0.0, True, 1.0),
    "typical_p": Range(0.0, False, 1.0),
    "repetition_penalty": Range(0.01, True, 10.0),
    "presence_penalty": Range(-2.0, True, 2.0),
    "frequency_penalty": Range(-2.0, True, 2.0),
}
"""Every field that is a number, and its range."""

COUNTS = {"top_k": 0, "min_tokens": 0, "penalty_window": 1}
"""Every field that is a whole number, and the least it may be."""

BIAS = Range(-100.0, True, 100.0)
OFF = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0}
"""What truncates, and the value at which it does nothing."""


class SamplingSettings:
    """How to draw tokens. Every argument is checked; RequestError names the field, its value and what it may be.

    | field | meaning | off at |
    |---|---|---|
    | `temperature` | divides the logits; 0 is greedy: the most probable token, the first of equals | 1 |
    | `top_k` | keep the k most probable tokens | 0 |
    | `top_p` | keep the fewest of the most probable tokens that together have this probability | 1 |
    | `min_p` | keep tokens of at least this many times the most probable one's probability | 0 |
    | `typical_p` | keep the fewest tokens of surprise nearest to the entropy that have this probability | 1 |
    | `repetition_penalty` | a token in the window: its positive logit is divided, its negative one multiplied | 1 |
    | `presence_penalty` | subtracted from the logit of a token that was drawn, in the window | 0 |
    | `frequency_penalty` | subtracted as many times as it was drawn, in the window | 0 |
    | `penalty_window` | how many of the last ids the penalties look at, the prompt's among them; None is all | |
    | `logit_bias` | id to what is added to its logit, -100 to 100; ids as int or as their digits | {} |
    | `banned_ids` | ids that are never drawn | () |
    | `min_tokens` | no stop id is drawn before so many tokens | 0 |
    | `seed` | the same seed draws the same tokens from the same logits; None takes a new one | |
    | `logprobs` | the model's own log-probabilities, of the drawn token and of so many of the best; None for none | |
    """

    __slots__ = (*NUMBERS, *COUNTS, "banned_ids", "logit_bias", "logprobs", "seed")

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        penalty_window: int | None = None,
        logit_bias: Mapping[int, float] | Mapping[str, float] | None = None,
        banned_ids: Iterable[int] = (),
        min_tokens: int = 0,
        seed: int | None = None,
        logprobs: int | None = None,
    ) -> None:
        self.temperature = _number("temperature", temperature)
        self.top_k = _count("top_k", top_k)
        self.top_p = _number("top_p", top_p)
        self.min_p = _number("min_p", min_p)
        self.typical_p = _number("typical_p", typical_p)
        self.repetition_penalty = _number("repetition_penalty", repetition_penalty)
        self.presence_penalty = _number("presence_penalty", presence_penalty)
        self.frequency_penalty = _number("frequency_penalty", frequency_penalty)
        self.penalty_window = None if penalty_window is None else _count("penalty_window", penalty_window)
        self.logit_bias = _bias(logit_bias or {})
        self.banned_ids = _ids("banned_ids", banned_ids)
        self.min_tokens = _count("min_tokens", min_tokens)
        self.seed = None if seed is None else _integer("seed", seed, -SEED_LIMIT, SEED_LIMIT - 1)
        self.logprobs = None if logprobs is None else _integer("logprobs", logprobs, 0, MAX_TOP_LOGPROBS)
        self._refuse_contradictions()

    @classmethod
    def from_strategy(
        cls,
        strategy: str = "greedy",
        *,
        temperature: float = 1.0,
        top_k: int = 50,
        top_p: float = 0.9,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        seed: int | None = None,
        logprobs: int | None = None,
    ) -> SamplingSettings:
        """The settings of a named strategy, which says which of the values are used: `greedy` none of the first four,
        `top_k` and `top_p` the one of their name, `sample` neither. All of them are checked."""
        if strategy not in STRATEGIES:
            raise RequestError(
                400, f"strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r:.60}", "strategy"
            )
        _number("temperature", temperature)
        _count("top_k", top_k)
        _number("top_p", top_p)
        _number("min_p", min_p)
        is_greedy = strategy == "greedy" or temperature == 0
        return cls(
            temperature=0.0 if is_greedy else temperature,
            top_k=top_k if strategy == "top_k" and not is_greedy else 0,
            top_p=top_p if strategy == "top_p" and not is_greedy else 1.0,
            min_p=0.0 if is_greedy else min_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            seed=seed,
            logprobs=logprobs,
        )

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0

    def _refuse_contradictions(self) -> None:
        if 0.0 < self.temperature < LEAST_TEMPERATURE:
            raise RequestError(
                400, f"temperature must be 0 or at least {LEAST_TEMPERATURE:g}, got {self.temperature:g}", "temperature"
            )
        if self.is_greedy:
            for name, off in OFF.items():
                value = getattr(self, name)
                if value != off and (name, value) != ("top_k", 1):
                    raise RequestError(
                        400,
                        f"{name} must be {off:g} where temperature is 0, which takes the most probable token, "
                        f"got {value:g}",
                        name,
                    )
        both = set(self.banned_ids).intersection(self.logit_bias)
        if both:
            raise RequestError(400, f"logit_bias has id {min(both)}, which banned_ids bans", "logit_bias")

    def check_vocabulary(self, n_vocab: int) -> None:
        """Raise RequestError for an id that is not below `n_vocab`, and where all of them are banned."""
        for name, ids in (("logit_bias", self.logit_bias), ("banned_ids", self.banned_ids)):
            beyond = [token for token in ids if token >= n_vocab]
            if beyond:
                raise RequestError(400, f"{name} must hold ids in [0, {n_vocab}), got {beyond[0]}", name)
        if len(set(self.banned_ids)) >= n_vocab:
            raise RequestError(400, f"banned_ids must leave a token, it bans all {n_vocab}", "banned_ids")


def _integer(name: str, value: object, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise RequestError(422, f"{name} must be an integer, got {value!r:.40}", name)
    if not low <= value <= high:
        found = value if abs(value) < 1 << 100 else "a larger one"
        raise RequestError(400, f"{name} must be an integer in [{low}, {high}], got {found}", name)
    return value


def _count(name: str, value: object) -> int:
    return _integer(name, value, COUNTS[name], (1 << 31) - 1)


def _number(name: str, value: object, allowed: Range | None = None) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RequestError(422, f"{name} must be a number, got {value!r:.40}", name)
    allowed = allowed or NUMBERS[name]
    if value not in allowed:
        found = (
            f"{value:g}" if isinstance(value, float) else f"{value!r:.40}" if abs(value) < 1 << 100 else "a large one"
        )
        raise RequestError(400, f"{name} must be in {allowed}, got {found}", name)
    return float(value)


def _ids(name: str, ids: Iterable[object]) -> array[int]:
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__iter__"):
        raise RequestError(422, f"{name} must be a list of token ids, got {ids!r:.40}", name)
    found = array("i")
    for value in ids:
        found.append(_integer(f"{name}[{len(found)}]", value, 0, (1 << 31) - 1))
        if len(found) > MAX_BANNED_IDS:
            raise RequestError(400, f"{name} must hold at most {MAX_BANNED_IDS} ids, it holds more", name)
    return found


def _bias(bias: Mapping[int, float] | Mapping[str, float]) -> dict[int, float]:
    if not hasattr(bias, "items"):
        raise RequestError(422, f"logit_bias must map token ids to numbers, got {bias!r:.40}", "logit_bias")
    if len(bias) > MAX_LOGIT_BIAS:
        raise RequestError(400, f"logit_bias must have at most {MAX_LOGIT_BIAS} entries, got {len(bias)}", "logit_bias")
    found: dict[int, float] = {}
    for key, value in bias.items():
        if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 10:
            token = int(key)
        else:
            token = _integer(f"logit_bias key {key!r:.20}", key, 0, (1 << 31) - 1)
        found[token] = _number(f"logit_bias[{token}]", value, BIAS)
    return found
