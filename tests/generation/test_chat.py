"""Conversations with a model of stories, which has no template; and with templates put into its file."""

from __future__ import annotations

import pytest

from realizar_lambda.errors import RequestError
from realizar_lambda.formats import gguf_writer, open_model
from realizar_lambda.language_model import LanguageModel

QUESTION = [{"role": "user", "content": "Tell me <s> a story"}]
TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}assistant:"


def with_template(llm, path, template):
    """The model with a chat template in its file."""
    file = open_model(llm.model_file.path)
    metadata = {**file.metadata, "tokenizer.chat_template": template}
    tensors = {name: (tensor.shape, tensor.block.name, tensor.data) for name, tensor in file.tensors.items()}
    gguf_writer.write(path, metadata, tensors)
    return LanguageModel.open(str(path), n_threads=1)


def test_without_a_template_the_prompt_is_plain_lines(llm):
    found = llm.chat(QUESTION, max_tokens=5, temperature=0)
    assert found.text == "User: Tell me <s> a story\nAssistant:" + found.completion
    assert found.token_ids[0] == llm.tokenizer.bos_id
    assert found.token_ids.count(llm.tokenizer.bos_id) == 1


def test_a_plain_answer_ends_where_the_user_would_speak(llm):
    assert llm.chat_prompt(QUESTION).stop == ("\nUser:",)
    answer = llm.chat(QUESTION, max_tokens=40, temperature=0).completion
    for stop in (answer[10:13], ["no such", answer[10:13]]):
        found = llm.chat(QUESTION, max_tokens=40, temperature=0, stop=stop)
        assert (found.finish_reason, answer.startswith(found.completion)) == ("stop", True)


def test_a_template_of_the_file_is_used_with_its_special_tokens(llm, tmp_path):
    model = with_template(llm, tmp_path / "chat.gguf", TEMPLATE)
    prompt = model.chat_prompt(QUESTION)
    assert prompt == ("<s>user:Tell me <s> a story</s>assistant:", False, True, ())
    found = model.chat(QUESTION, max_tokens=4, temperature=0)
    assert found.token_ids[0] == model.tokenizer.bos_id
    assert found.token_ids[1] != model.tokenizer.bos_id
    assert found.text == prompt.text + found.completion


def test_a_second_turn_goes_on_from_the_first(llm):
    first = llm.chat(QUESTION, max_tokens=8, temperature=0)
    messages = [*QUESTION, {"role": "assistant", "content": first.completion}, {"role": "user", "content": "And?"}]
    assert llm.chat(messages, max_tokens=2).usage.cached_tokens >= first.usage.prompt_tokens - 4


def test_what_is_no_conversation_is_refused(llm):
    with pytest.raises(RequestError, match="messages must have 1 to 1024 items, got 0"):
        llm.chat([])
    with pytest.raises(RequestError, match="tools need a model with a chat template"):
        llm.chat(QUESTION, tools=[{"type": "function"}])
