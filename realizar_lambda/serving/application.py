"""The application: from a Request to a Response, whatever brought it. It knows no event source and no socket.

Every error is caught here, once. A log line per request carries its id, route, status and latency, and never
a feature, a prompt or an answer.
"""

from __future__ import annotations

import time

from realizar_lambda.errors import RealizarError, RequestError
from realizar_lambda.serving.log import write_line
from realizar_lambda.serving.metrics import Metrics
from realizar_lambda.serving.router import Router
from realizar_lambda.serving.routes import ROUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from realizar_lambda.registry import LoadedModel, Registry
    from realizar_lambda.serving.http import Request, Response
    from realizar_lambda.serving.router import Route
    from realizar_lambda.serving.settings import Settings

KINDS = {
    "classify": ("predict", "generates text; this route needs one that classifies features"),
    "generate": ("generate", "classifies features; this route needs one that generates text"),
}
"""Kind of model: the method that each of them has, and what is said of one that lacks it."""

NO_ROUTE = "none"  # the route label of requests that match no route
CLIENT_LEFT = "E_CLIENT_LEFT"  # the log's code of a stream that nobody read to its end


MAX_ANSWER_BYTES = (6 << 20) - (64 << 10)  # what Lambda carries, less room for what it is wrapped in


def carried_bytes(body: str | bytes) -> int:
    """Bytes of a body inside the JSON that carries it to the source: base64, or a string with escapes."""
    if isinstance(body, bytes):
        return len(body) // 3 * 4 + 4
    return len(body) + body.count('"') + body.count("\\") + body.count("\n")


def check_answer_size(body: str | bytes) -> None:
    """Refuse an answer that Lambda would not carry. Our JSON is ASCII, so its characters are bytes."""
    if 2 * len(body) > MAX_ANSWER_BYTES and carried_bytes(body) > MAX_ANSWER_BYTES:
        raise too_large(carried_bytes(body))


def too_large(n_bytes: int) -> RequestError:
    message = f"the answer has {n_bytes} bytes or more, at most {MAX_ANSWER_BYTES} can be sent: ask for less at a time"
    return RequestError(413, message)


def native_isa() -> str:
    """The instruction set whose kernels this process uses."""
    from realizar_lambda.native import library

    return library().isa


class Application:
    """Settings, models, routes and metrics of one process. `respond` may be called from several threads."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        *,
        routes: Iterable[Route] = ROUTES,
        kernels: Callable[[], str] = native_isa,
        clock: Callable[[], float] = time.perf_counter,
        log: Callable[[dict[str, object]], None] = write_line,
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.router = Router(routes)
        self.kernels = kernels
        self.clock = clock
        self.metrics = Metrics(clock=clock)
        self.log = log
        self._unanswered = [True]  # popped by the first request: list.pop is atomic

    def respond(self, request: Request) -> Response:
        """The response to `request`. Raises nothing: every error has a response.

        A streamed response has its `chunks` still to come where the request can stream, and is counted and logged
        when they end; else they are its body.
        """
        started = self.clock()
        request.is_cold_start = self._take_cold_start()
        route, allowed = self.router.match(request.method, self._path_of(request))
        trace: list[str] = []
        try:
            if route is None:
                raise self._no_route(request, allowed)
            response = route.answer(request, self)
            if not request.can_stream:
                check_answer_size(response.body)
        except Exception as error:
            response = self._fail(error, request, allowed, trace)
        if request.request_id:
            response.headers["x-request-id"] = request.request_id
        name = route.path if route else NO_ROUTE
        if response.chunks is None:
            self._record(request, response, name, started, trace)
            if request.method.upper() == "HEAD":
                response.body = ""
            return response
        chunks = self._watch(response.chunks, request, response, name, started)
        if request.can_stream:
            response.chunks = chunks
        else:
            response.body = "".join(chunks)
            response.chunks = None
        return response

    def load(self, name: str | None, kind: str) -> LoadedModel:
        """The model of this name, the default one for None. `kind` is a key of KINDS.

        Raises RequestError where it is of another kind and where there is no default, and what `Registry.get` raises.
        """
        if not name:
            from realizar_lambda.serving.default_models import default_model

            name = default_model(kind, self.settings, self.registry)
        loaded = self.registry.get(name)
        method, mismatch = KINDS[kind]
        if not hasattr(loaded.model, method):
            raise RequestError(400, f"model {loaded.name[:100]!a} {mismatch}", "model_id")
        return loaded

    def warm(self, method: str, path: str) -> None:
        """Do before the first request what it would else wait for: import a route, load its default model.

        A model that cannot be loaded does not stop the process: the routes that need it answer with the
        reason, and so does the log line written here.
        """
        route, _ = self.router.match(method, path)
        if route is None:
            return
        route.answer  # noqa: B018  (the property imports the module)
        try:
            if route.kind:
                loaded = self.load(None, route.kind)
                if route.kind == "generate":
                    loaded.model.tokenizer  # noqa: B018  (read when it is first asked for)
        except (RealizarError, OSError) as error:
            self.log({"event": "default_model_not_loaded", "reason": str(error)})

    def _watch(
        self, chunks: Generator[str, None, None], request: Request, response: Response, route: str, started: float
    ) -> Generator[str, None, None]:
        """The chunks of a stream. An error in their midst becomes the last of them, since the status is out."""
        trace: list[str] = []
        n_bytes = 0
        try:
            for chunk in chunks:
                n_bytes += carried_bytes(chunk)
                if n_bytes > MAX_ANSWER_BYTES and not request.can_stream:
                    raise too_large(n_bytes)
                yield chunk
        except GeneratorExit:
            response.code = CLIENT_LEFT
            raise
        except Exception as error:
            from realizar_lambda.serving.event_stream import error_event

            failed = self._fail(error, request, (), trace)
            response.code = failed.code
            yield error_event(str(failed.body))
        finally:
            chunks.close()
            self._record(request, response, route, started, trace)

    def _record(self, request: Request, response: Response, route: str, started: float, trace: list[str]) -> None:
        """Count an answered request and write its log line."""
        seconds = self.clock() - started
        self.metrics.observe_request(
            route=route,
            model=response.model,
            is_failed=response.status >= 400 or response.code not in ("", CLIENT_LEFT),
            is_cold_start=request.is_cold_start,
            seconds=seconds,
        )
        record: dict[str, object] = {
            "event": "request",
            "request_id": request.request_id,
            "source": request.source,
            "route": route,
            "status": response.status,
            "latency_ms": round(seconds * 1000, 3),
            "cold_start": request.is_cold_start,
        }
        if response.model:
            record["model"] = response.model
        if response.code:
            record["code"] = response.code
        record.update(response.usage)
        if trace:
            record["trace"] = trace
        if self.settings.metrics_namespace:
            from realizar_lambda.serving.embedded_metrics import embed

            embed(record, self.settings.metrics_namespace, timestamp_ms=int(time.time() * 1000))
        self.log(record)

    def _take_cold_start(self) -> bool:
        try:
            return self._unanswered.pop()
        except IndexError:
            return False

    def _path_of(self, request: Request) -> str:
        base = self.settings.base_path
        path = request.path
        return path[len(base) :] if base and (path + "/").startswith(base + "/") else path

    def _no_route(self, request: Request, allowed: tuple[str, ...]) -> RequestError:
        from realizar_lambda.serving.fields import quoted

        method, path = quoted(request.method)[1:-1], quoted(request.path)[1:-1]
        if allowed:
            return RequestError(405, f"{path} answers {', '.join(allowed)}, got {method}")
        return RequestError(404, f"no route {method} {path}; routes: {', '.join(self.router.paths)}")

    def _fail(self, error: Exception, request: Request, allowed: tuple[str, ...], trace: list[str]) -> Response:
        from realizar_lambda.serving.failures import failure_response

        if not isinstance(error, RealizarError):
            import traceback

            # The frames without the message: a message of someone else's may quote a caller's value.
            trace.append(type(error).__name__)
            trace += [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
        is_wrong_method = isinstance(error, RequestError) and error.status == 405
        headers = {"allow": ", ".join(allowed)} if is_wrong_method else None
        return failure_response(error, request.request_id, headers=headers)
