"""/health, /ready and /metrics: what an operator asks. /health never touches a model."""

from __future__ import annotations

from realizar_lambda.errors import RealizarError
from realizar_lambda.serving.http import TEXT, Response
from realizar_lambda.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request


def health(request: Request, application: Application) -> Response:
    """The process answers: version, the kernels' instruction set, the names of the models there are."""
    value = {
        "status": "healthy",
        "version": __version__,
        "kernels": application.kernels(),
        "models": list(application.registry.names()),
    }
    return Response.from_json(200, value)


def ready(request: Request, application: Application) -> Response:
    """200 where the main model is loaded or loads now, else 503 with the reason."""
    from realizar_lambda.serving.default_models import main_model

    registry = application.registry
    try:
        registry.get(main_model(application.settings, registry))
    except (RealizarError, OSError) as error:
        return Response.from_json(
            503,
            {"ready": False, "error": str(error), "code": "E_NOT_READY", "models": registry.loaded_names()},
        )
    return Response.from_json(200, {"ready": True, "models": registry.loaded_names()})


def metrics(request: Request, application: Application) -> Response:
    """This process's own counters: behind Lambda each environment has its own."""
    from realizar_lambda.serving.exposition import write_exposition

    return Response(200, write_exposition(application.metrics), TEXT)
