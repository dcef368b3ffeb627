"""What a language model does with text, for LanguageModel to inherit: `generate`, `stream`, `chat`.

It knows how a request is made and no step of how it is answered.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from realizar_lambda.chat import ChatPrompt
    from realizar_lambda.formats.model_file import ModelFile
    from realizar_lambda.generation.contexts import ContextPool
    from realizar_lambda.generation.result import Generation
    from realizar_lambda.generation.stream import Stream
    from realizar_lambda.tokenizers.tokenizer import Tokenizer


class TextModel:
    """Text in and out of a model. See docs/generation.md for every argument."""

    model_file: ModelFile
    _tokenizer: Tokenizer | None = None
    _contexts: ContextPool | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer in the model's file, read when it is first asked for. Raises UnsupportedError for none."""
        if self._tokenizer is None:
            from realizar_lambda import tokenizers

            if self.model_file.format == "safetensors":
                self._tokenizer = tokenizers.load(os.path.dirname(self.model_file.path) or ".")
            else:
                self._tokenizer = tokenizers.from_model_file(self.model_file)
        return self._tokenizer

    @property
    def prefix_path(self) -> str:
        """Where a prefix lies that is used without being asked for: the model's file with `.prefix` added."""
        return self.model_file.path.rstrip("/") + ".prefix"

    @property
    def contexts(self) -> ContextPool:
        """The contexts kept between generations, and the prefix beside the model where there is one.

        Raises what `load_prefix` raises.
        """
        if self._contexts is None:
            from realizar_lambda.generation.contexts import ContextPool

            contexts = ContextPool(self)  # type: ignore[arg-type]
            if os.path.exists(self.prefix_path):
                from realizar_lambda.generation.snapshot import open_snapshot

                contexts.add(open_snapshot(self.prefix_path, self))  # type: ignore[arg-type]
            self._contexts = contexts
        return self._contexts

    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = 50,
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
        stop: str | Sequence[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        prompt_lookup: bool = False,
        deadline: float | None = None,
        share_key: str | None = "",
        add_special: bool = True,
        parse_special: bool = False,
    ) -> Generation:
        """Go on from `prompt`, text or token ids. Raises RequestError for what cannot be done."""
        stream = self.stream(
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            typical_p=typical_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            penalty_window=penalty_window,
            logit_bias=logit_bias,
            banned_ids=banned_ids,
            min_tokens=min_tokens,
            seed=seed,
            logprobs=logprobs,
            stop=stop,
            stop_token_ids=stop_token_ids,
            ignore_eos=ignore_eos,
            prompt_lookup=prompt_lookup,
            deadline=deadline,
            share_key=share_key,
            add_special=add_special,
            parse_special=parse_special,
        )
        for _ in stream:
            pass
        return stream.generation

    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = 50,
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
        stop: str | Sequence[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        prompt_lookup: bool = False,
        deadline: float | None = None,
        share_key: str | None = "",
        add_special: bool = True,
        parse_special: bool = False,
    ) -> Stream:
        """As `generate`, piece by piece: an iterator of `Piece`. What is wrong with the request is raised here."""
        from realizar_lambda.generation.request import Request
        from realizar_lambda.generation.stream import Stream
        from realizar_lambda.sampling import SamplingSettings

        settings = SamplingSettings(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            typical_p=typical_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            penalty_window=penalty_window,
            logit_bias=logit_bias,
            banned_ids=banned_ids,
            min_tokens=min_tokens,
            seed=seed,
            logprobs=logprobs,
        )
        request = Request(
            prompt,
            settings,
            max_tokens=max_tokens,
            stop=stop,
            stop_token_ids=stop_token_ids,
            ignore_eos=ignore_eos,
            prompt_lookup=prompt_lookup,
            deadline=deadline,
            share_key=share_key,
            add_special=add_special,
            parse_special=parse_special,
        )
        return Stream(self, request)  # type: ignore[arg-type]

    def chat_prompt(
        self,
        messages: Sequence[object],
        *,
        tools: Sequence[object] | None = None,
        add_generation_prompt: bool = True,
    ) -> ChatPrompt:
        """The prompt for a conversation, by the model's own template: its text and how to encode it."""
        from realizar_lambda.chat import prompt_of

        return prompt_of(
            messages,
            template=self.tokenizer.chat_template,
            special_tokens=special_texts(self.tokenizer),
            tools=tools,
            add_generation_prompt=add_generation_prompt,
        )

    def chat(
        self,
        messages: Sequence[object],
        *,
        tools: Sequence[object] | None = None,
        max_tokens: int | None = 50,
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
        stop: str | Sequence[str] | None = None,
        stop_token_ids: Sequence[int] = (),
        ignore_eos: bool = False,
        prompt_lookup: bool = False,
        deadline: float | None = None,
        share_key: str | None = "",
    ) -> Generation:
        """Answer a conversation: messages with a role and a content; `completion` is the answer.

        Takes what `generate` takes. Raises RequestError also for what is no conversation, and UnsupportedError where
        the model's template cannot be used.
        """
        prompt = self.chat_prompt(messages, tools=tools)
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        return self.generate(
            prompt.text,
            max_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            min_p=min_p,
            typical_p=typical_p,
            repetition_penalty=repetition_penalty,
            presence_penalty=presence_penalty,
            frequency_penalty=frequency_penalty,
            penalty_window=penalty_window,
            logit_bias=logit_bias,
            banned_ids=banned_ids,
            min_tokens=min_tokens,
            seed=seed,
            logprobs=logprobs,
            stop=(*stops, *prompt.stop),
            stop_token_ids=stop_token_ids,
            ignore_eos=ignore_eos,
            prompt_lookup=prompt_lookup,
            deadline=deadline,
            share_key=share_key,
            add_special=prompt.add_special,
            parse_special=prompt.parse_special,
        )

    def save_prefix(
        self,
        path: str,
        prompt: str | Sequence[int],
        *,
        room: int = 512,
        add_special: bool = True,
        parse_special: bool = False,
    ) -> int:
        """Compute a prompt that many requests will begin with, and keep it in a file; the file's size in bytes.

        A text should end where a token does in what follows it, as the messages of a chat template do. Requests of up
        to `room` tokens more go on over the mapped file, longer ones over a copy. Raises RequestError for a prompt
        that is too short or longer than the context, and OSError.
        """
        from realizar_lambda.generation.snapshot import save_prompt

        ids = prompt
        if isinstance(prompt, str):
            ids = self.tokenizer.encode(prompt, add_special=add_special, parse_special=parse_special)
        return save_prompt(self, path, ids, room=room)  # type: ignore[arg-type]

    def load_prefix(self, path: str) -> int:
        """Let every request that begins as the file's prompt does go on from it; how many tokens that is.

        Raises FormatError for what is no such file, UnsupportedError for one of another model, and OSError.
        """
        from realizar_lambda.generation.snapshot import open_snapshot

        snapshot = open_snapshot(path, self)  # type: ignore[arg-type]
        self.contexts.add(snapshot)
        return len(snapshot.token_ids)


def special_texts(tokenizer: Tokenizer) -> dict[str, str]:
    """What chat templates call a tokenizer's special tokens, and how those are written."""
    ids = {
        "bos_token": tokenizer.bos_id,
        "eos_token": tokenizer.eos_id,
        "pad_token": tokenizer.pad_id,
        "unk_token": tokenizer.unknown_id,
    }
    return {name: tokenizer.piece(token).decode("utf-8", "replace") for name, token in ids.items() if token is not None}
