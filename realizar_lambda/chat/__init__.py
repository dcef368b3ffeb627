"""Conversations as prompts: the model's own chat template, or plain text where it has none. It knows no model.

prompt_of(messages, template=..., special_tokens=...)    -> ChatPrompt
"""

from __future__ import annotations

import time

from realizar_lambda.chat.messages import checked_messages, checked_tools
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.record import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

PLAIN_ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
PLAIN_STOP = "\nUser:"


class ChatPrompt(namedtuple("ChatPrompt", "text add_special parse_special stop")):
    """The text to go on from, how to encode it, and the strings that end the answer beside the stop tokens."""

    __slots__ = ()


def prompt_of(
    messages: Sequence[object],
    *,
    template: str | None,
    special_tokens: Mapping[str, str],
    tools: Sequence[object] | None = None,
    add_generation_prompt: bool = True,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], Any] | None = None,
) -> ChatPrompt:
    """The prompt for a conversation.

    `template` is Jinja, rendered as Hugging Face's `apply_chat_template` does, with the texts in `special_tokens`
    (`bos_token`, `eos_token`, ...) as variables; its special tokens are to be parsed and none to be added. None gives
    `User: ...` and `Assistant: ...`, a line each. Raises RequestError for messages and UnsupportedError for templates
    that cannot be used, the latter also where Jinja is not installed.
    """
    checked, functions = checked_messages(messages), checked_tools(tools)
    if template is None:
        return ChatPrompt(_plain(checked, functions, add_generation_prompt), True, False, (PLAIN_STOP,))
    try:
        from realizar_lambda.chat.sandbox import rendered
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "jinja2":
            raise
        raise UnsupportedError("a chat template without Jinja", "pip install 'realizar-lambda[chat]'") from None
    variables = {
        **special_tokens,
        "messages": checked,
        "tools": functions,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
    }
    return ChatPrompt(rendered(template, variables, clock=clock, now=now or _now), False, True, ())


def _now() -> Any:
    from datetime import datetime

    return datetime.now()


def _plain(messages: list[dict[str, Any]], tools: object, add_generation_prompt: bool) -> str:
    if tools:
        raise RequestError(400, "tools need a model with a chat template, this one has none", "tools")
    lines = []
    for number, message in enumerate(messages):
        name, content = PLAIN_ROLES.get(message["role"]), message.get("content")
        if name is None or not isinstance(content, str):
            known = ", ".join(PLAIN_ROLES)
            raise RequestError(
                400,
                f"messages[{number}] must be text of one of the roles {known} for a model without a chat template, "
                f"got role {message['role']!r:.40}",
                f"messages[{number}].role",
            )
        lines.append(f"{name}: {content.strip()}\n")
    return "".join(lines) + ("Assistant:" if add_generation_prompt else "")
