"""Text and language models that commands are given: from files, stdin, the models folder. It generates nothing."""

from __future__ import annotations

import sys

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.loading import load

MAX_TEXT_BYTES = 64 << 20


def open_language_model(path_or_name: str, *, huge_pages: bool = False) -> LanguageModel:
    """Load a model that generates text. Raises UnsupportedError where it classifies."""
    model = load(path_or_name, huge_pages=huge_pages and have_huge_pages())
    if not isinstance(model, LanguageModel):
        raise UnsupportedError(f"{path_or_name}, which classifies,", "models that generate text")
    return model


def have_huge_pages() -> bool:
    """Whether there are huge pages; a note on stderr says why not."""
    from realizar_lambda.formats.huge_pages import can_have

    return can_have(lambda reason: print(f"note: {reason}", file=sys.stderr))


def read_text(path: str) -> str:
    """The text in a file, or on stdin for "-". Raises RequestError for what is too long or not UTF-8, and OSError."""
    if path == "-":
        content = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    else:
        with open(path, "rb") as file:
            content = file.read(MAX_TEXT_BYTES + 1)
    if len(content) > MAX_TEXT_BYTES:
        raise RequestError(413, f"{path} must have at most {MAX_TEXT_BYTES} bytes, it has more", "text")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        found = content[error.start]
        raise RequestError(400, f"{path} must be UTF-8, byte {error.start} is 0x{found:02x}", "text") from None
