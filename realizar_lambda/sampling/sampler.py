"""Draws tokens from logits, one native call each. It knows no model and no text."""

from __future__ import annotations

import os
import struct
from array import array

from realizar_lambda import native, ops
from realizar_lambda.errors import CapacityError, RequestError
from realizar_lambda.sampling.settings import MAX_TOP_LOGPROBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from realizar_lambda.sampling.settings import SamplingSettings


class Sampler:
    """The state of one generation's draws: settings, seed, the ids so far.

    sampler = Sampler(SamplingSettings(temperature=0.8), n_vocab=512, prompt_ids=ids, max_tokens=64)
    token = sampler.sample(logits)                  logits (n_vocab,) f32, C-contiguous; not changed

    `seed` is the settings', or the one that was taken where they have none. `history` holds the prompt's ids and
    those drawn.
    """

    __slots__ = (
        "_address",
        "_call",
        "_capacity",
        "_kept",
        "_logits",
        "_numbers",
        "_record",
        "_scratch",
        "_top_ids",
        "_top_logprobs",
        "n_vocab",
        "seed",
        "settings",
    )

    def __init__(
        self,
        settings: SamplingSettings,
        *,
        n_vocab: int,
        prompt_ids: Sequence[int] = (),
        max_tokens: int,
        stop_ids: Iterable[int] = (),
        library: native.Library | None = None,
    ) -> None:
        """`prompt_ids` and `stop_ids` must be below `n_vocab`; `sample` can be called `max_tokens` times.

        Raises RequestError where the settings name ids that are not.
        """
        settings.check_vocabulary(n_vocab)
        self.settings = settings
        self.n_vocab = n_vocab
        seed = settings.seed
        self.seed = int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else seed
        history = array("i", prompt_ids)
        n_prompt = len(history)
        history.frombytes(bytes(4 * max_tokens))
        self._capacity = len(history)
        bias_ids, bias_values = array("i", settings.logit_bias), array("f", settings.logit_bias.values())
        stops = array("i", stop_ids)
        ids = {"prompt_ids": history, "stop_ids": stops}
        for name, given in ids.items():
            if given and not 0 <= min(given) <= max(given) < n_vocab:
                raise RequestError(400, f"{name} must be in [0, {n_vocab}), got {min(given)} to {max(given)}", name)
        self._top_ids, self._top_logprobs = array("i", [0] * MAX_TOP_LOGPROBS), array("d", [0.0] * MAX_TOP_LOGPROBS)
        self._scratch = native.allocate(ops.sampling_scratch_bytes(n_vocab))
        self._kept = (history, bias_ids, bias_values, stops)
        values: dict[str, float] = {
            "n_vocab": n_vocab, "scratch": native.address(self._scratch),
            "history": native.address(history), "n_prompt": n_prompt, "n_history": n_prompt, "seed": self.seed,
            "window": settings.penalty_window or 0,
            "repetition_penalty": settings.repetition_penalty, "presence_penalty": settings.presence_penalty,
            "frequency_penalty": settings.frequency_penalty,
            "bias_ids": native.address(bias_ids), "bias_values": native.address(bias_values), "n_bias": len(bias_ids),
            "banned": native.address(settings.banned_ids), "n_banned": len(settings.banned_ids),
            "stop_ids": native.address(stops), "n_stop": len(stops), "min_tokens": settings.min_tokens,
            "temperature": settings.temperature, "top_k": settings.top_k, "top_p": settings.top_p,
            "min_p": settings.min_p, "typical_p": settings.typical_p,
            "wants_logprobs": settings.logprobs is not None, "n_top": min(settings.logprobs or 0, n_vocab),
            "top_ids": native.address(self._top_ids), "top_logprobs": native.address(self._top_logprobs),
        }  # fmt: skip
        kinds = "".join("d" if name in ops.SAMPLING_FLOATS else "q" for name in ops.SAMPLING)
        self._record = array("q", struct.pack(f"={kinds}", *(values.get(name, 0) for name in ops.SAMPLING)))
        self._numbers = memoryview(self._record).cast("B").cast("d")
        self._address = native.address(self._record)
        self._call = (library or native.library()).sample
        self._logits: object = None

    @property
    def history(self) -> array[int]:
        """The prompt's ids and those drawn, a copy."""
        return self._kept[0][: self._record[ops.SAMPLING["n_history"]]]

    def sample(self, logits: memoryview[Any]) -> int:
        """Draw the next token; logits beyond `n_vocab` are not looked at.

        Raises RequestError where a logit is NaN or +infinity or where every token is banned, and CapacityError
        after `max_tokens` draws. Nothing is drawn then.
        """
        if logits is not self._logits:
            if logits.nbytes < 4 * self.n_vocab or logits.format != "f":
                raise CapacityError("logits of f32", 4 * self.n_vocab, logits.nbytes)
            self._record[ops.SAMPLING["logits"]] = native.address(logits)
            self._logits = logits
        if self._record[_N_HISTORY] == self._capacity:
            raise CapacityError("another draw", self._capacity + 1, self._capacity, "tokens")
        token: int = self._call(self._address)
        if token < 0:
            self._raise(token)
        return token

    def logprobs(self) -> tuple[float, list[tuple[int, float]]]:
        """Of the last draw: the token's log-probability, and the best tokens with theirs, the best first.

        They are those of the model: before temperature, penalties, biases and truncation. The settings must ask
        for them.
        """
        n = self._record[ops.SAMPLING["n_listed"]] if self.settings.logprobs else 0
        best = list(zip(self._top_ids[:n], self._top_logprobs[:n], strict=True))
        return float(self._numbers[ops.SAMPLING["logprob"]]), best

    def _raise(self, fault: int) -> None:
        if ops.SAMPLING_FAULTS[fault] == "all banned":
            raise RequestError(400, "no token can be drawn: banned_ids, logit_bias and min_tokens leave none")
        raise RequestError(
            500,
            f"the model's logits must be finite, that of token {self._record[ops.SAMPLING['fault_at']]} is NaN or "
            "infinite: the model file is damaged, or its numbers overflow",
        )


_N_HISTORY = ops.SAMPLING["n_history"]
