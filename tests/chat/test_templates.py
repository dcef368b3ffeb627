"""Conversations rendered as Hugging Face's transformers renders them, out of a stored fixture."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from realizar_lambda.chat import PLAIN_STOP, ChatPrompt, prompt_of
from realizar_lambda.errors import RequestError, UnsupportedError

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "chat_templates"
RENDERED = json.loads((FOLDER / "rendered.json").read_text(encoding="utf-8"))
QUESTION = [{"role": "user", "content": "Why?"}]


def render(template: str, messages=QUESTION, **arguments) -> str:
    return prompt_of(messages, template=template, special_tokens={}, **arguments).text


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.jinja")))
def test_a_template_renders_as_with_transformers(name):
    template = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    cases = [case for case in RENDERED["cases"] if case["template"] == name]
    assert len(cases) == 2 * len(RENDERED["conversations"])
    for case in cases:
        arguments = {
            **RENDERED["conversations"][case["conversation"]],
            "template": template,
            "special_tokens": RENDERED["special_tokens"],
            "add_generation_prompt": case["add_generation_prompt"],
        }
        if "error" in case:
            with pytest.raises(RequestError) as caught:
                prompt_of(**arguments)
            assert (caught.value.status, caught.value.field) == (400, "messages")
            if case["error"].startswith("TemplateError: "):
                refusal = case["error"].removeprefix("TemplateError: ")
                assert caught.value.message == f"the chat template refuses these messages: {refusal}"
        else:
            assert prompt_of(**arguments) == ChatPrompt(case["text"], False, True, ())


def test_a_template_may_ask_for_the_date():
    text = render("{{ strftime_now('%d %b %Y') }}", now=lambda: datetime(2026, 7, 4))
    assert text == "04 Jul 2026"


def test_parts_of_text_become_lines_and_other_parts_are_refused():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert render("{{ messages[0].content }}", [{"role": "user", "content": parts}]) == "one\ntwo"
    with pytest.raises(RequestError, match=r"messages\[0\].content\[0\] must be a part of type 'text'.* 'image_url'"):
        render("", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])


def test_arguments_of_a_tool_call_may_be_json_text_as_openai_sends_them():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": [1, 2]}'}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    assert render("{{ messages[0].tool_calls[0].function.arguments.x | tojson }}", messages) == "[1, 2]"
    call["function"]["arguments"] = "{x"
    with pytest.raises(RequestError, match=r"messages\[0\].tool_calls\[0\].function.arguments must be JSON"):
        render("", messages)
    assert call["function"]["arguments"] == "{x"


@pytest.mark.parametrize(("messages", "status", "field"), [
    ("hello", 422, "messages"),
    ([], 400, "messages"),
    (QUESTION * 1025, 400, "messages"),
    (["hello"], 422, "messages[0]"),
    ([{"content": "x"}], 422, "messages[0].role"),
    ([{"role": 1, "content": "x"}], 422, "messages[0].role"),
    ([{"role": "user"}], 422, "messages[0].content"),
    ([{"role": "user", "content": None}], 422, "messages[0].content"),
    ([*QUESTION, {"role": "user", "content": 7}], 422, "messages[1].content"),
    ([{"role": "assistant", "content": "", "tool_calls": {}}], 422, "messages[0].tool_calls"),
    ([{"role": "assistant", "content": "", "tool_calls": [{"function": {}}]}], 422, "messages[0].tool_calls[0]"),
])  # fmt: skip
def test_what_is_no_conversation_is_refused_with_its_place(messages, status, field):
    for template in (None, "x"):
        with pytest.raises(RequestError) as caught:
            prompt_of(messages, template=template, special_tokens={})
        assert (caught.value.status, caught.value.field) == (status, field)


@pytest.mark.parametrize(("tools", "status"), [("f", 422), ([1], 422), ([{}] * 129, 400)])
def test_what_are_no_tools_is_refused(tools, status):
    with pytest.raises(RequestError) as caught:
        render("x", tools=tools)
    assert caught.value.status == status


def test_without_a_template_a_conversation_is_plain_lines():
    messages = [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": " Hi "},
        {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"},
    ]  # fmt: skip
    prompt = prompt_of(messages, template=None, special_tokens={})
    assert prompt.text == "System: Be kind.\nUser: Hi\nAssistant: Hello.\nUser: Bye\nAssistant:"
    assert prompt[1:] == (True, False, (PLAIN_STOP,))


def test_without_a_template_tools_and_other_roles_are_refused():
    with pytest.raises(RequestError, match="tools need a model with a chat template"):
        prompt_of(QUESTION, template=None, special_tokens={}, tools=[{}])
    with pytest.raises(RequestError, match="got role 'tool'"):
        prompt_of([{"role": "tool", "content": "x"}], template=None, special_tokens={})


@pytest.mark.parametrize(
    "template", ["{% for x in %}", "{{ ", "{% endif %}", "{{ 'a }}", "{% nosuchtag %}", "{{ x | nosuch }}"]
)
def test_what_is_no_template_is_the_model_files_fault(template):
    with pytest.raises(UnsupportedError, match="the chat template"):
        render(template)
