"""Direct invocations: `{"action": ..., fields}` or bare `{"features": [...]}`. The answer is the JSON itself.

An error raises RequestError, so that it reaches the Runtime API's error path and the caller's FunctionError.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.json_codec import Decoder
from realizar_lambda.serving.fields import quoted, type_name
from realizar_lambda.serving.http import JSON, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.invocation import Invocation


class Direct:
    """An event that comes from `lambda:InvokeFunction` itself."""

    name = "direct"

    def answer(self, event: object, invocation: Invocation, application: Application) -> object:
        """The decoded JSON of the answer, or its text where it is not JSON. Raises RequestError."""
        actions = application.router.by_action
        if not isinstance(event, dict):
            raise RequestError(422, f"an event must be an object, got {type_name(event)}")
        action = event.get("action", "predict" if "features" in event else None)
        route = actions.get(action) if isinstance(action, str) else None
        if route is None:
            known = ", ".join(sorted(actions))
            if action is None:
                raise RequestError(
                    422, f"the event is not understood: it needs 'action' (one of {known}) or 'features'"
                )
            raise RequestError(422, f"action must be one of {known}, got {quoted(str(action))}", "action")
        fields = {name: value for name, value in event.items() if name != "action"}
        response = application.respond(
            Request.from_value(
                route.method,
                route.path,
                fields,
                source=self.name,
                request_id=invocation.request_id,
                deadline=invocation.deadline,
            )
        )
        if response.headers["content-type"] != JSON:
            return response.body
        value = _decode(str(response.body))
        if response.status >= 400:
            raise RequestError(response.status, value["error"], code=response.code)
        return value


_decode = Decoder().decode
