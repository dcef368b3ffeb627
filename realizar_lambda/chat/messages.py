"""The messages of a conversation and the tools it may use, checked and made plain. It knows no template."""

from __future__ import annotations

import json

from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

MAX_MESSAGES = 1024
MAX_TOOLS = 128


def checked_messages(messages: Sequence[object]) -> list[dict[str, Any]]:
    """The messages as templates expect them: content that is text, the arguments of tool calls as objects.

    Only a message with tool calls may have no content. A content of several parts becomes their texts, a line each.
    Raises RequestError for what is no conversation.
    """
    if not isinstance(messages, (list, tuple)):
        raise RequestError(422, f"messages must be a list, got {type(messages).__name__}", "messages")
    if not 1 <= len(messages) <= MAX_MESSAGES:
        raise RequestError(400, f"messages must have 1 to {MAX_MESSAGES} items, got {len(messages)}", "messages")
    return [_checked(message, f"messages[{number}]") for number, message in enumerate(messages)]


def checked_tools(tools: Sequence[object] | None) -> list[dict[str, Any]] | None:
    """The tools as they are, JSON schemas of functions; None for none. Raises RequestError."""
    if not tools:
        return None
    if not isinstance(tools, (list, tuple)):
        raise RequestError(422, f"tools must be a list, got {type(tools).__name__}", "tools")
    if len(tools) > MAX_TOOLS:
        raise RequestError(400, f"tools must have at most {MAX_TOOLS} items, got {len(tools)}", "tools")
    for number, tool in enumerate(tools):
        if not isinstance(tool, dict):
            raise RequestError(422, f"tools[{number}] must be an object, got {type(tool).__name__}", f"tools[{number}]")
    return [dict(tool) for tool in tools]


def _checked(message: object, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise RequestError(422, f"{where} must be an object, got {type(message).__name__}", where)
    role = message.get("role")
    if not isinstance(role, str) or not role:
        raise RequestError(422, f"{where}.role must be a string, got {role!r:.40}", f"{where}.role")
    made = dict(message)
    if message.get("content") is not None:
        made["content"] = _text_of(message["content"], f"{where}.content")
    elif message.get("tool_calls"):
        made.pop("content", None)
    else:
        raise RequestError(422, f"{where}.content must be text, it is missing", f"{where}.content")
    calls = message.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise RequestError(422, f"{where}.tool_calls must be a list of objects", f"{where}.tool_calls")
        made["tool_calls"] = [_with_arguments(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return made


def _text_of(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestError(422, f"{where} must be text or a list of parts, got {type(content).__name__}", where)
    texts = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise RequestError(
                400, f"{where}[{number}] must be a part of type 'text' with a text, got {kind!r:.40}", where
            )
        texts.append(text)
    return "\n".join(texts)


def _with_arguments(call: dict[str, Any], where: str) -> dict[str, Any]:
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise RequestError(422, f"{where} must have a function with a name", where)
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            message = f"{where}.function.arguments must be JSON, got {arguments!r:.60}"
            raise RequestError(400, message, where) from None
    made = {**function, "arguments": arguments}
    return {**call, "function": made} if "function" in call else made
