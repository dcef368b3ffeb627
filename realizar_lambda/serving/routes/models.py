"""/models: what models there are. Listing reads headers and loads nothing."""

from __future__ import annotations

from realizar_lambda.serving.http import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.http import Request


def models(request: Request, application: Application) -> Response:
    """Every model with its kind, format, size and whether it is loaded; a broken file has its `error`."""
    return Response.from_json(200, {"models": application.registry.summaries()})
