"""/generate, /batch/generate and /stream/generate: text in, more text out. They know no event source and no model file.

A stream is server-sent events: `token` for each piece, then `done`, or `error` where it failed on its way.
"""

from __future__ import annotations

from realizar_lambda.errors import RealizarError, RequestError
from realizar_lambda.generation.request import Request as GenerationRequest
from realizar_lambda.generation.stream import Stream
from realizar_lambda.sampling import SamplingSettings
from realizar_lambda.serving.body import read_json
from realizar_lambda.serving.fields import Flag, Integer, Items, Text, check_batch, read_fields, shown
from realizar_lambda.serving.http import EVENTS, Response
from realizar_lambda.serving.text_fields import Checked, Stops, Unicode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from realizar_lambda.generation.result import Generation, Logprob
    from realizar_lambda.registry import LoadedModel
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request
    from realizar_lambda.serving.settings import Settings
    from realizar_lambda.tokenizers.tokenizer import Tokenizer

SAMPLING_FIELDS = {
    "strategy": Text(default="greedy"),
    "temperature": Checked(default=1.0),
    "top_k": Checked(default=50),
    "top_p": Checked(default=0.9),
    "min_p": Checked(default=0.0),
    "repetition_penalty": Checked(default=1.0),
    "presence_penalty": Checked(default=0.0),
    "frequency_penalty": Checked(default=0.0),
    "seed": Checked(),
    "logprobs": Checked(),
}
OPTIONS = {
    **SAMPLING_FIELDS,
    "max_tokens": Integer(low=1, default=50),
    "stop": Stops(default=()),
    "prompt_lookup": Flag(default=False),
    "model_id": Text(),
}
PROMPT = Unicode(is_required=True)
GENERATE_FIELDS = {"prompt": PROMPT, **OPTIONS}
BATCH_FIELDS = {"prompts": Items(is_required=True), **OPTIONS}

LEAST_LOGPROB = -9999.0  # stands for minus infinity, which JSON cannot write


class Task:
    """What a request asks of a model, checked: its prompts start from here."""

    __slots__ = ("_deadline", "_fields", "_sampling", "_share_key", "loaded")

    def __init__(self, fields: dict[str, Any], request: Request, application: Application) -> None:
        """Raises RequestError for a value out of range and for a model that generates no text."""
        most = application.settings.max_tokens
        if fields["max_tokens"] > most:
            found = shown(fields["max_tokens"])
            raise RequestError(400, f"max_tokens must be at most {most}, got {found}", "max_tokens")
        self._fields = fields
        self._sampling = SamplingSettings.from_strategy(**{name: fields[name] for name in SAMPLING_FIELDS})
        self._deadline = request.deadline
        self._share_key = share_key_of(request, application.settings)
        self.loaded: LoadedModel = application.load(fields["model_id"], "generate")

    def start(self, prompt: str) -> Stream:
        """A generation that has computed nothing yet. Raises RequestError where the context has no room for it."""
        asked = GenerationRequest(
            prompt,
            self._sampling,
            max_tokens=self._fields["max_tokens"],
            stop=self._fields["stop"],
            prompt_lookup=self._fields["prompt_lookup"],
            deadline=self._deadline,
            share_key=self._share_key,
        )
        return Stream(self.loaded.model, asked)


def share_key_of(request: Request, settings: Settings) -> str | None:
    """Under which key a request's computed prompt is kept and looked for; None keeps it for nobody."""
    if settings.share_prefixes == "caller":
        return request.caller
    return "" if settings.share_prefixes == "all" else None


def generate(request: Request, application: Application) -> Response:
    """One completion."""
    fields = read_fields(read_json(request, application.settings), GENERATE_FIELDS)
    task = Task(fields, request, application)
    generation = _finish(task.start(fields["prompt"]), application)
    answer = _describe(generation, task.loaded.model.tokenizer)
    return Response.from_json(200, answer, model=task.loaded.name, usage=_usage_line([generation]))


def batch_generate(request: Request, application: Application) -> Response:
    """A completion per prompt, one after the other; a prompt that fails has its error in its place. The request's
    deadline is that of them all: those that it leaves no time for end with "timeout" and no new text."""
    fields = read_fields(read_json(request, application.settings), BATCH_FIELDS)
    prompts = check_batch(fields["prompts"], "prompts", application.settings.max_batch)
    task = Task(fields, request, application)
    generations: list[Generation] = []
    results: list[dict[str, Any]] = []
    for position, item in enumerate(prompts):
        try:
            generation = _finish(task.start(PROMPT.read(item, f"prompts[{position}]")), application)
            results.append(_describe(generation, task.loaded.model.tokenizer))
            generations.append(generation)
        except RealizarError as error:
            from realizar_lambda.serving.failures import refusal

            results.append(refusal(error))
    return Response.from_json(200, {"results": results}, model=task.loaded.name, usage=_usage_line(generations))


def stream_generate(request: Request, application: Application) -> Response:
    """One completion as events. What is wrong with the request is refused before the first of them."""
    fields = read_fields(read_json(request, application.settings), GENERATE_FIELDS)
    task = Task(fields, request, application)
    usage: dict[str, object] = {}
    events = _events(task.start(fields["prompt"]), application, task.loaded.model.tokenizer, usage)
    headers = {"cache-control": "no-cache"}
    return Response(200, "", EVENTS, headers=headers, model=task.loaded.name, chunks=events, usage=usage)


def _events(
    stream: Stream, application: Application, tokenizer: Tokenizer, usage: dict[str, object]
) -> Generator[str, None, None]:
    from realizar_lambda.serving.event_stream import event

    started = application.clock()
    try:
        for piece in stream:
            logprob = {} if piece.logprob is None else _describe_logprob(piece.logprob, tokenizer)
            yield event("token", {**logprob, "token_id": piece.token_id, "text": piece.text})
        generation = stream.generation
        done = {
            "num_generated": generation.usage.completion_tokens,
            "finish_reason": generation.finish_reason,
            "usage": generation.usage.to_json(),
            "timings": generation.timings.to_json(),
        }
        yield event("done", done)
    finally:
        stream.close()
        generation = stream.generation
        usage.update(_usage_line([generation]))
        n_tokens = generation.usage.completion_tokens
        application.metrics.observe_inference(application.clock() - started, n_tokens=n_tokens)


def _finish(stream: Stream, application: Application) -> Generation:
    """The whole of a generation."""
    started = application.clock()
    n_tokens = 0
    try:
        for _ in stream:
            n_tokens += 1
    finally:
        application.metrics.observe_inference(application.clock() - started, n_tokens=n_tokens)
    return stream.generation


def _describe(generation: Generation, tokenizer: Tokenizer) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "token_ids": generation.token_ids,
        "text": generation.text,
        "completion": generation.completion,
        "num_generated": generation.usage.completion_tokens,
        "finish_reason": generation.finish_reason,
        "usage": generation.usage.to_json(),
        "timings": generation.timings.to_json(),
    }
    if generation.logprobs is not None:
        answer["logprobs"] = [_describe_logprob(logprob, tokenizer) for logprob in generation.logprobs]
    return answer


def _describe_logprob(found: Logprob, tokenizer: Tokenizer) -> dict[str, Any]:
    best = [_token(token, logprob, tokenizer) for token, logprob in found.top]
    return {**_token(found.token_id, found.logprob, tokenizer), "top": best}


def _token(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    text = tokenizer.piece(token).decode("utf-8", "replace")
    return {"token_id": token, "text": text, "logprob": max(logprob, LEAST_LOGPROB)}


def _usage_line(generations: list[Generation]) -> dict[str, object]:
    """What the log says of generations: numbers and no text."""
    return {
        "prompt_tokens": sum(generation.usage.prompt_tokens for generation in generations),
        "generated_tokens": sum(generation.usage.completion_tokens for generation in generations),
        "finish_reason": ", ".join(sorted({generation.finish_reason for generation in generations})),
    }
