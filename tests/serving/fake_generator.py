"""A language model of one byte per token that goes on with the alphabet: real generation over made-up logits."""

from __future__ import annotations

import codecs
from array import array
from types import SimpleNamespace

from realizar_lambda.errors import RequestError
from realizar_lambda.generation.text_model import TextModel

N_VOCAB = 256
END = 0
BROKEN_LOGITS, CRASH, LATIN = ord("!"), ord("#"), ord("@")
"""What follows these bytes: NaN, an exception that nobody foresees, and the two bytes of an e with an acute."""


class FakeTokenizer:
    """A token is a byte; `add_special` puts a 2 before the text; 0 ends it."""

    n_tokens = N_VOCAB
    stop_ids = frozenset((END,))

    def encode(self, text, *, add_special=True, parse_special=False) -> list[int]:
        return [2] * add_special + list(text.encode())

    def decode(self, ids, *, skip_special=True) -> str:
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_bytes(self, ids, *, skip_special=True) -> bytes:
        return bytes(token for token in ids if token > 2)

    def piece(self, token) -> bytes:
        return {END: b"</s>", 2: b"<s>"}.get(token) or bytes([token])

    def stream_decoder(self, *, is_start=False, skip_special=True):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return SimpleNamespace(
            feed=lambda token: decoder.decode(bytes([token])), finish=lambda: decoder.decode(b"", final=True)
        )


class FakeContext:
    """Remembers ids; the logits after the last of them favour the next letter of the alphabet."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.n_cache_bytes = 64 * capacity
        self.ids = array("i")
        self._logits = array("f", [0.0] * N_VOCAB)
        self._view = memoryview(self._logits)

    @property
    def position(self) -> int:
        return len(self.ids)

    def truncate(self, n_tokens: int) -> None:
        del self.ids[n_tokens:]

    def append(self, ids) -> None:
        self.ids.extend(ids)

    def step(self, token: int):
        return self.evaluate([token])

    def evaluate(self, ids):
        self.append(ids)
        last = self.ids[-1]
        if last == CRASH:
            raise ZeroDivisionError("the prompt was: secret")
        self._logits[:] = array("f", [float("nan") if last == BROKEN_LOGITS else 0.0] * N_VOCAB)
        self._logits[after(last)] = 9.0
        return self._view


def after(token: int) -> int:
    if token == LATIN or token == 0xC3:
        return 0xC3 if token == LATIN else 0xA9
    return token + 1 if ord("a") <= token < ord("z") else END if token == ord("z") else ord("a")


class FakeGenerator(TextModel):
    """Room for 64 tokens."""

    name = "story"
    description = "goes on with the alphabet"
    n_vocab = N_VOCAB
    tokenizer = FakeTokenizer()

    def __init__(self) -> None:
        self.model_file = SimpleNamespace(path="fake.gguf", metadata={}, format="gguf-v3", checks={}, buffer=b"")
        self.config = SimpleNamespace(context_length=64)

    def context(self, capacity: int) -> FakeContext:
        return FakeContext(capacity)

    def checked(self, ids) -> array:
        if not len(ids):
            raise RequestError(400, "token_ids must hold at least one id, got none", "token_ids")
        return array("i", ids)
