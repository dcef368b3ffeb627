"""What the text routes share: the model that answers, the size of a batch. It knows no route."""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.fields import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.registry import LoadedModel
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request
    from realizar_lambda.serving.settings import Settings


def find_text_model(name: str | None, application: Application, request: Request) -> LoadedModel:
    """The model of this name, the default one for None. Raises RequestError where it generates no text."""
    loaded = application.load(name, "generate")
    if not hasattr(loaded.model, "generate"):
        message = f"model {quoted(loaded.name)} classifies features; {request.path} needs a model that generates text"
        raise RequestError(400, message, "model_id")
    return loaded


def check_batch(items: list[object], name: str, settings: Settings) -> list[object]:
    """`items`, where their number is allowed. Raises RequestError."""
    if not 1 <= len(items) <= settings.max_batch:
        raise RequestError(400, f"{name} must hold 1 to {settings.max_batch} items, got {len(items)}", name)
    return items
