"""/tokenize, /batch/tokenize and /detokenize: text to token ids and back. They know no kind of tokenizer."""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.body import read_json
from realizar_lambda.serving.fields import Flag, Items, Text, check_batch, read_fields, shown
from realizar_lambda.serving.http import Response
from realizar_lambda.serving.text_fields import TokenIds, Unicode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request
    from realizar_lambda.tokenizers.tokenizer import Tokenizer

OPTIONS = {"add_special": Flag(default=True), "with_pieces": Flag(default=False), "model_id": Text()}
TOKENIZE_FIELDS = {"text": Unicode(is_required=True), **OPTIONS}
BATCH_FIELDS = {"texts": Items(is_required=True), **OPTIONS}
TEXT = Unicode()
DETOKENIZE_FIELDS = {"token_ids": TokenIds(is_required=True), "model_id": Text()}


def tokenize(request: Request, application: Application) -> Response:
    """The token ids of one text."""
    fields = read_fields(read_json(request, application.settings), TOKENIZE_FIELDS)
    loaded = application.load(fields["model_id"], "generate")
    answer = _tokens(fields["text"], loaded.model.tokenizer, fields)
    return Response.from_json(200, answer, model=loaded.name)


def batch_tokenize(request: Request, application: Application) -> Response:
    """The token ids of many texts; a text that is wrong has its error in its place."""
    fields = read_fields(read_json(request, application.settings), BATCH_FIELDS)
    texts = check_batch(fields["texts"], "texts", application.settings.max_batch)
    loaded = application.load(fields["model_id"], "generate")
    results: list[dict[str, Any]] = []
    for position, item in enumerate(texts):
        try:
            results.append(_tokens(TEXT.read(item, f"texts[{position}]"), loaded.model.tokenizer, fields))
        except RequestError as error:
            from realizar_lambda.serving.failures import refusal

            results.append(refusal(error))
    return Response.from_json(200, {"results": results}, model=loaded.name)


def detokenize(request: Request, application: Application) -> Response:
    """The text of token ids. Control tokens write nothing; bytes that are not UTF-8 become U+FFFD."""
    fields = read_fields(read_json(request, application.settings), DETOKENIZE_FIELDS)
    loaded = application.load(fields["model_id"], "generate")
    token_ids, tokenizer = fields["token_ids"], loaded.model.tokenizer
    last = tokenizer.n_tokens - 1
    for position, token in enumerate(token_ids):
        if not 0 <= token <= last:
            message = f"token_ids[{position}] must be 0 to {last}, got {shown(token)}"
            raise RequestError(400, message, "token_ids")
    return Response.from_json(200, {"text": tokenizer.decode(token_ids)}, model=loaded.name)


def _tokens(text: str, tokenizer: Tokenizer, fields: dict[str, Any]) -> dict[str, Any]:
    token_ids = tokenizer.encode(text, add_special=fields["add_special"])
    answer: dict[str, Any] = {"token_ids": token_ids, "num_tokens": len(token_ids)}
    if fields["with_pieces"]:
        answer["pieces"] = [tokenizer.piece(token).decode("utf-8", "replace") for token in token_ids]
    return answer
