"""The Lambda handler: an event in, what its source expects out. It knows no route and no event's shape."""

from __future__ import annotations

import os

from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import Application
from realizar_lambda.serving.events import find_source
from realizar_lambda.serving.invocation import Invocation
from realizar_lambda.serving.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def make_handler(
    environ: Mapping[str, str] | None = None, *, warm: tuple[str, str] | None = None
) -> Callable[[object, object], object]:
    """A handler over the environment's models and settings; `warm`: the (method, path) it mostly answers."""
    settings = Settings.from_env(os.environ if environ is None else environ)
    registry = Registry(settings.models_dir, max_bytes=settings.max_model_bytes)
    application = Application(settings, registry)
    if warm is not None:
        application.warm(*warm)
    return make_event_handler(application)


def make_event_handler(application: Application) -> Callable[[object, object], object]:
    """A handler over an application. For proxy events it returns a response whatever happens; for direct
    invocations an error raises RequestError, which the runtime reports as the function's error."""

    def handler(event: object, context: object) -> object:
        return find_source(event).answer(event, Invocation.from_context(context), application)

    return handler
