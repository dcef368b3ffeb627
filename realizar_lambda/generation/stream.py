"""The generation itself: prefill, then a token at a time until something ends it. It knows no request's origin."""

from __future__ import annotations

import time
from array import array

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.generation import result
from realizar_lambda.generation.contexts import prefill_parts
from realizar_lambda.generation.result import LENGTH, STOP, TIMEOUT, Logprob, Piece, Timings, Usage
from realizar_lambda.generation.stop_strings import StopStrings
from realizar_lambda.sampling import Sampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any

    from realizar_lambda.generation.request import Request
    from realizar_lambda.language_model import Context, LanguageModel
    from realizar_lambda.tokenizers.tokenizer import StreamDecoder, Tokenizer

PREFILL_CHUNK, TIMED_PREFILL_CHUNK = 256, 64
"""Tokens prefilled at a time, and between two looks at the clock where there is a deadline."""


class Stream:
    """The pieces of a generation as they come: an iterator. `generation` is the whole of what came so far.

    Everything about the request is checked when it is made. Close it, or drop it, to end early.
    """

    def __init__(self, model: LanguageModel, request: Request, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises RequestError for a prompt without tokens, of ids that are not in the vocabulary, or that leaves no
        room in the context, and UnsupportedError for text where the model file has no tokenizer."""
        self._model = model
        self._request = request
        self._clock = clock
        self._tokenizer = _tokenizer_of(model, request)
        self._n_known = model.n_vocab if self._tokenizer is None else min(model.n_vocab, self._tokenizer.n_tokens)
        self.prompt_ids = model.checked(self._encode())
        n_prompt, length = len(self.prompt_ids), model.config.context_length
        max_tokens = request.max_tokens or length - n_prompt
        if max_tokens < 1 or n_prompt + max_tokens > length:
            asked = f" and {request.max_tokens} to generate" if request.max_tokens else ""
            raise RequestError(
                413,
                f"the prompt has {n_prompt} tokens{asked}, the context has room for {length}"
                + ("" if request.max_tokens else ", the completion included"),
                "prompt",
                "E_CONTEXT_LENGTH_EXCEEDED",
            )
        self._max_tokens = max_tokens
        self._stop_ids = self._all_stop_ids()
        self._sampler = Sampler(
            request.settings,
            n_vocab=self._n_known,
            prompt_ids=self.prompt_ids,
            max_tokens=max_tokens,
            stop_ids=self._stop_ids,
        )
        self._completion: list[str] = []
        self._ids = array("i")
        self._logprobs: list[Logprob] | None = None if request.settings.logprobs is None else []
        self._finish_reason = ""
        self._n_cached = 0
        self._begun = self._first_at = self._last_at = 0.0
        self._pieces = self._run()

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        return next(self._pieces)

    def close(self) -> None:
        """End the generation where it is."""
        self._pieces.close()

    @property
    def seed(self) -> int:
        """The seed that was used."""
        return self._sampler.seed

    @property
    def generation(self) -> result.Generation:
        """What came so far; `finish_reason` is "" before the end."""
        n_prompt, n = len(self.prompt_ids), len(self._ids)
        prefill, decode = self._first_at - self._begun, self._last_at - self._first_at
        completion = "".join(self._completion)
        return result.Generation(
            self._prompt_text() + completion,
            completion,
            [*self.prompt_ids, *self._ids],
            self._finish_reason,
            Usage(n_prompt, n, n_prompt + n, self._n_cached),
            Timings(prefill, decode, (n - 1) / decode if n > 1 and decode > 0.0 else 0.0),
            self._logprobs,
        )

    def _encode(self) -> Any:
        request = self._request
        if not isinstance(request.prompt, str):
            return request.prompt
        ids = self._model.tokenizer.encode(
            request.prompt, add_special=request.add_special, parse_special=request.parse_special
        )
        if not ids:
            raise RequestError(400, f"prompt must have at least one token, {request.prompt!r:.40} has none", "prompt")
        return ids

    def _prompt_text(self) -> str:
        prompt = self._request.prompt
        if isinstance(prompt, str):
            return prompt
        return "" if self._tokenizer is None else self._tokenizer.decode(self.prompt_ids)

    def _all_stop_ids(self) -> frozenset[int]:
        beyond = [token for token in self._request.stop_token_ids if not 0 <= token < self._n_known]
        if beyond:
            message = f"stop_token_ids must be in [0, {self._n_known}), got {beyond[0]}"
            raise RequestError(400, message, "stop_token_ids")
        stops = frozenset(self._request.stop_token_ids)
        if self._request.ignore_eos or self._tokenizer is None:
            return stops
        return stops.union(token for token in self._tokenizer.stop_ids if token < self._n_known)

    def _run(self) -> Generator[Piece, None, None]:
        pool = self._model.contexts
        share_key = self._request.share_key
        self._begun = self._first_at = self._last_at = self._clock()
        context = pool.take(self.prompt_ids, len(self.prompt_ids) + self._max_tokens, share_key)
        try:
            self._n_cached = context.position
            logits = self._prefill(context)
            self._first_at = self._last_at = self._clock()
            if logits is not None:
                yield from self._decode(context, logits)
        except Exception:
            context.truncate(0)
            raise
        finally:
            pool.give(context, share_key, n_prompt=len(self.prompt_ids))

    def _prefill(self, context: Context) -> memoryview[Any] | None:
        """The logits after the prompt, or None where time ran out."""
        begin, deadline = context.position, self._request.deadline
        sizes = prefill_parts(len(self.prompt_ids) - begin, PREFILL_CHUNK if deadline is None else TIMED_PREFILL_CHUNK)
        logits = None
        for size in sizes:
            if deadline is not None and self._clock() >= deadline:
                self._finish_reason = TIMEOUT
                return None
            part = self.prompt_ids[begin : begin + size]
            begin += size
            if begin < len(self.prompt_ids):
                context.append(part)
            else:
                logits = context.evaluate(part)
        return logits

    def _decode(self, context: Context, logits: memoryview[Any]) -> Generator[Piece, None, None]:
        sample, step, clock = self._sampler.sample, self._stepper(context), self._clock
        feed, finish, ends = self._text_filter()
        stop_ids, ids, deadline = self._stop_ids, self._ids, self._request.deadline
        completion, logprobs = self._completion, self._logprobs
        n_left = self._max_tokens
        reason = ""
        while not reason:
            token = sample(logits)
            if token in stop_ids:
                reason = STOP
                break
            ids.append(token)
            n_left -= 1
            text = feed(token)
            logprob = None
            if logprobs is not None:
                logprob = Logprob(token, *self._sampler.logprobs())
                logprobs.append(logprob)
            if ends():
                reason = STOP
            elif n_left == 0:
                reason = LENGTH
                text += finish()
            completion.append(text)
            self._finish_reason = reason
            yield Piece(token, text, logprob)
            if reason:
                return
            if deadline is not None and clock() >= deadline:
                reason = TIMEOUT
            else:
                logits = step(token)
                self._last_at = clock()
        self._finish_reason = reason
        rest = finish()
        if rest:
            completion.append(rest)
            yield Piece(None, rest)

    def _stepper(self, context: Context) -> Callable[[int], memoryview[Any]]:
        if not self._request.prompt_lookup:
            return context.step
        from realizar_lambda.generation.prompt_lookup import Lookahead

        return Lookahead(context, self.prompt_ids, n_steps=self._max_tokens - 1).step

    def _text_filter(self) -> tuple[Callable[[int], str], Callable[[], str], Callable[[], bool]]:
        """Functions: a token's text that can be shown, what still waits, whether a stop string was found."""
        if self._tokenizer is None:
            return _no_text, str, bool
        decoder = self._tokenizer.stream_decoder(is_start=not self._tokenizer.decode_bytes(self.prompt_ids))
        if not self._request.stop:
            return decoder.feed, decoder.finish, bool
        return _with_stops(decoder, StopStrings(self._request.stop), self._request.settings.min_tokens)


def _no_text(token: int) -> str:
    return ""


def _with_stops(
    decoder: StreamDecoder, stops: StopStrings, min_tokens: int
) -> tuple[Callable[[int], str], Callable[[], str], Callable[[], bool]]:
    n_fed = 0

    def feed(token: int) -> str:
        nonlocal n_fed
        n_fed += 1
        text = decoder.feed(token)
        return stops.feed(text) if n_fed >= min_tokens else text

    def finish() -> str:
        if stops.is_stopped:
            return ""
        rest = stops.feed(decoder.finish())
        return rest if stops.is_stopped else rest + stops.finish()

    return feed, finish, lambda: stops.is_stopped


def _tokenizer_of(model: LanguageModel, request: Request) -> Tokenizer | None:
    """The model's tokenizer, or None where it has none and the request has no text."""
    try:
        return model.tokenizer
    except UnsupportedError:
        if isinstance(request.prompt, str) or request.stop:
            raise
        return None
