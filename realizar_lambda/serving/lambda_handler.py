"""The Lambda handler: an event in, what its source expects out. It knows no route and no event's shape.

Modules are imported inside `make_handler` while the garbage collector rests: an init makes thousands of objects
and no garbage, and looking for it took 1.3 to 2 ms of an init of 12.
"""

from __future__ import annotations

import gc
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from realizar_lambda.serving.application import Application


def make_handler(
    environ: Mapping[str, str] | None = None, *, warm: tuple[str, str] | None = None
) -> Callable[[object, object], object]:
    """A handler over the environment's models and settings; `warm`: the (method, path) it mostly answers."""
    environ = os.environ if environ is None else environ
    is_collecting = gc.isenabled()
    gc.disable()
    try:
        from realizar_lambda.registry import Registry
        from realizar_lambda.serving.application import Application
        from realizar_lambda.serving.settings import Settings

        settings = Settings.from_env(environ)
        huge_pages = settings.huge_pages and _have_huge_pages()
        registry = Registry(settings.models_dir, max_bytes=settings.max_model_bytes, huge_pages=huge_pages)
        application = Application(settings, registry)
        if warm is not None:
            application.warm(*warm)
        if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
            from realizar_lambda.serving.restore import register

            register(application, environ)
        return make_event_handler(application)
    finally:
        gc.freeze()
        if is_collecting:
            gc.enable()


def _have_huge_pages() -> bool:
    """Whether there are huge pages; a log line says why not."""
    from realizar_lambda.formats.huge_pages import can_have
    from realizar_lambda.serving.log import write_line

    return can_have(lambda reason: write_line({"event": "no_huge_pages", "reason": reason}))


def make_event_handler(application: Application) -> Callable[[object, object], object]:
    """A handler over an application. For proxy events it returns a response whatever happens; for direct
    invocations an error raises RequestError, which the runtime reports as the function's error."""
    from realizar_lambda.serving.events import find_source
    from realizar_lambda.serving.invocation import Invocation

    def handler(event: object, context: object) -> object:
        invocation = Invocation.from_context(context, reserve_seconds=application.settings.reserve_seconds)
        return find_source(event).answer(event, invocation, application)

    return handler
