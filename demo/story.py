"""The demo's story: a /generate event, what the handler tells, and its place in the terminal. It knows no digit."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from lambda_emulator.entries import entry_command
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.phases import EMULATORS, ROOT
from lambda_emulator.records import Invocation

HANDLER = "handlers.generate.handler"
MODEL = "stories-q4_k"
FILE = ROOT / "models" / f"{MODEL}.gguf"
ENVIRONMENT = {"REALIZAR_MODEL": MODEL}
PROMPT = "Once upon a time"
SEED = 7
COLUMNS = 80
ENDINGS = {"stop": "the model came to the end", "length": "cut at max_tokens", "timeout": "out of time"}


@dataclass(frozen=True, slots=True)
class Story:
    """What the handler told, or why it told nothing. `ending` is "stop" where the model itself came to an end."""

    text: str
    n_generated: int
    tokens_per_second: float
    ending: str
    fault: str | None = None


def generate_event(max_tokens: int, **fields: object) -> dict[str, object]:
    """The /generate event of a story, as an HTTP API sends it. Without more fields it is the most probable one."""
    return api_gateway_v2("POST", "/generate", {"prompt": PROMPT, "max_tokens": max_tokens, **fields})


def story_of(result: Invocation) -> Story:
    """The answer in an invocation's result."""
    try:
        payload = result.payload
        if result.is_error or not isinstance(payload, dict) or payload.get("statusCode") != 200:
            return Story("", 0, 0.0, "", result.raw[:300].decode("utf-8", "replace"))
        answer = json.loads(payload["body"])
        speed = float(answer["timings"]["tokens_per_second"])
        return Story(answer["text"], answer["num_generated"], speed, answer["finish_reason"])
    except (ValueError, KeyError, TypeError):
        return Story("", 0, 0.0, "", f"not an answer of /generate: {result.raw[:300]!r}")


def tell(*, emulator: str, python: str, folder: Path) -> Story:
    """A story from a fresh process of the handler, which is asked for one token first, so that it is warm."""
    event = generate_event(200, strategy="top_p", temperature=0.7, seed=SEED)
    command = entry_command("loop", python, HANDLER)
    with EMULATORS[emulator](HANDLER, cwd=folder, command=command, env=ENVIRONMENT) as function:
        function.invoke(generate_event(1))
        return story_of(function.invoke(event))


def page(story: Story) -> str:
    """The story in lines of at most COLUMNS, each paragraph by itself, and how fast it was told."""
    paragraphs = [
        textwrap.fill(line.strip(), COLUMNS - 2, initial_indent="  ", subsequent_indent="  ")
        for line in story.text.splitlines()
        if line.strip()
    ]
    speed = f"{story.n_generated} tokens, {story.tokens_per_second:,.0f} per second"
    return "\n".join([*paragraphs, "", f"  ({speed}; {ENDINGS.get(story.ending, story.ending)})"])
