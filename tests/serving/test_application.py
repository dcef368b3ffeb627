"""The application: routing, errors caught once, log lines, cold start, readiness."""

from __future__ import annotations

import json
import threading

import pytest
from serving.fake_models import load_fake

from realizar_lambda.errors import BuildError, CapacityError, RequestError
from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import MAX_ANSWER_BYTES, Application
from realizar_lambda.serving.http import EVENTS, Request, Response
from realizar_lambda.serving.router import Route, Router
from realizar_lambda.serving.routes import ROUTES
from realizar_lambda.serving.settings import Settings
from realizar_lambda.version import __version__


def get(application, path, method="GET", **options):
    response = application.respond(Request(method, path, **options))
    is_json = response.headers["content-type"] == "application/json" and response.body
    return response.status, json.loads(response.body) if is_json else response.body, response.headers


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_of_the_table_leads_to_a_function(route):
    assert callable(route.answer)


def test_health_names_version_kernels_and_models_and_loads_none(application):
    status, value, _ = get(application, "/health")
    assert status == 200
    assert value == {
        "status": "healthy",
        "version": __version__,
        "kernels": "fake_isa",
        "models": ["abc", "broken", "other", "overflowing", "story"],
    }
    assert application.registry.loaded_names() == []


def test_ready_loads_the_default_model(application):
    assert get(application, "/ready")[:2] == (200, {"ready": True, "models": ["abc"]})


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_ready_is_503_with_the_reason_where_the_default_model_does_not_load(models_folder, name, log_lines):
    registry = Registry(str(models_folder), load=load_fake)
    application = Application(Settings(default_model=name), registry, log=log_lines.append)
    application.warm("POST", "/predict")
    assert log_lines[0]["event"] == "default_model_not_loaded"
    status, value, _ = get(application, "/ready")
    assert (status, value["ready"], value["code"]) == (503, False, "E_NOT_READY")
    assert value["error"] == log_lines[0]["reason"]


def test_models_lists_without_loading(application):
    status, value, _ = get(application, "/models")
    assert status == 200
    assert value["models"][0] == {"id": "abc", "size_bytes": 5, "loaded": False}
    get(application, "/predict", "POST", body='{"features": [1, 2, 3]}')
    assert get(application, "/models")[1]["models"][0]["loaded"] is True


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/predict", "POST"), ("POST", "/health", "GET, HEAD"), ("DELETE", "/models/", "GET, HEAD")],
)
def test_a_wrong_method_is_405_with_allow(application, method, path, allow):
    status, value, headers = get(application, path, method)
    assert (status, value["code"], headers["allow"]) == (405, "E_METHOD_NOT_ALLOWED", allow)
    assert f"answers {allow}, got {method}" in value["error"]


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/predict/x", "//predict", "predict", "/PREDICT", "/a\nb"])
def test_an_unknown_path_is_404_and_says_which_there_are(application, path):
    status, value, _ = get(application, path)
    assert (status, value["code"]) == (404, "E_NOT_FOUND")
    assert "/predict/batch" in value["error"]
    assert "\n" not in value["error"]


def test_head_is_get_without_the_body(application):
    status, body, headers = get(application, "/health", "HEAD")
    assert (status, body, headers["content-type"]) == (200, "", "application/json")


def test_the_router_tells_found_from_wrong_method_from_none():
    router = Router(ROUTES)
    assert router.match("post", "/predict/")[0].action == "predict"
    assert router.match("GET", "/predict") == (None, ("POST",))
    assert router.match("GET", "/x") == (None, ())


def test_a_base_path_is_cut_off(models_folder):
    registry = Registry(str(models_folder), load=load_fake)
    application = Application(Settings(base_path="/ml"), registry, kernels=lambda: "", log=lambda line: None)
    assert get(application, "/ml/health")[0] == 200
    assert get(application, "/health")[0] == 200
    assert get(application, "/mlhealth")[0] == 404


class Failing(Route):
    """A route that raises what it is given."""

    def __init__(self, error: Exception) -> None:
        super().__init__("GET", "/fail", "fail", "")
        self._answer = self._raise
        self._error = error

    def _raise(self, request, application) -> Response:
        raise self._error


def failing(error: Exception, log_lines: list) -> Application:
    return Application(Settings(), Registry(load=load_fake), routes=[Failing(error)], log=log_lines.append)


def test_an_unforeseen_error_is_500_without_a_trace_and_the_log_has_the_frames_without_the_message(log_lines):
    application = failing(ZeroDivisionError("the prompt was: secret"), log_lines)
    status, value, _ = get(application, "/fail", request_id="r-1")
    assert (status, value["code"], value["request_id"]) == (500, "E_INTERNAL", "r-1")
    assert "secret" not in json.dumps(value)
    assert "Traceback" not in json.dumps(value)
    assert log_lines[-1]["trace"][0] == "ZeroDivisionError"
    assert "_raise" in log_lines[-1]["trace"][-1]
    assert "secret" not in json.dumps(log_lines)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (MemoryError(), 500, "E_INTERNAL"),
        (RecursionError(), 500, "E_INTERNAL"),
        (BuildError("no compiler"), 500, "E_KERNELS"),
        (CapacityError("model 'x'", 10, 5), 503, "E_CAPACITY"),
        (RequestError(429, "wait"), 429, "E_TOO_MANY_REQUESTS"),
        (RequestError(405, "no"), 405, "E_METHOD_NOT_ALLOWED"),
    ],
)
def test_each_error_has_its_status_and_code(error, status, code, log_lines):
    found, value, _ = get(failing(error, log_lines), "/fail")
    assert (found, value["code"]) == (status, code)
    assert log_lines[-1]["code"] == code


def test_an_answer_with_nan_is_an_internal_error_and_not_broken_json(log_lines):
    class Nan(Failing):
        def _raise(self, request, application):
            return Response.from_json(200, {"x": float("nan")})

    application = Application(Settings(), Registry(load=load_fake), routes=[Nan(ValueError())], log=log_lines.append)
    assert get(application, "/fail")[0] == 500


class Large(Failing):
    """Answers with so many characters."""

    def __init__(self, n: int, *, is_stream: bool) -> None:
        super().__init__(ValueError())
        self._n = n
        self._is_stream = is_stream

    def _raise(self, request, application):
        if self._is_stream:
            return Response(200, "", EVENTS, chunks=("x" * (self._n // 2) for _ in range(2)))
        return Response.from_json(200, "x" * self._n)


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_lambda_cannot_carry_is_an_error_and_one_that_it_can_is_not(log_lines, is_stream):
    for n, can_stream, is_sent in (
        (MAX_ANSWER_BYTES - 64, False, True),
        (MAX_ANSWER_BYTES + 2, False, False),
        (MAX_ANSWER_BYTES + 2, True, True),
    ):
        routes = [Large(n, is_stream=is_stream)]
        application = Application(Settings(), Registry(load=load_fake), routes=routes, log=log_lines.append)
        response = application.respond(Request("GET", "/fail", can_stream=can_stream))
        body = "".join(response.chunks) if response.chunks else response.body
        assert ("at most 6225920 can be sent" in body) == (not is_sent)
        assert log_lines[-1].get("code") == (None if is_sent else "E_TOO_LARGE")
        assert application.metrics.n_failed == (not is_sent)


def test_a_log_line_has_route_status_and_time_and_nothing_of_the_body(application, log_lines):
    body = '{"features": [1234567, 2, 3], "options": {"top_k": 1}}'
    application.respond(Request("POST", "/predict", body=body, source="test", request_id="r-2"))
    (line,) = log_lines
    assert line.pop("latency_ms") >= 0
    assert line == {
        "event": "request",
        "request_id": "r-2",
        "source": "test",
        "route": "/predict",
        "status": 200,
        "cold_start": True,
        "model": "abc",
    }


def test_with_a_namespace_a_log_line_is_a_cloudwatch_metric_too(models_folder, log_lines):
    registry = Registry(str(models_folder), load=load_fake)
    settings = Settings(default_model="abc", metrics_namespace="predictions")
    application = Application(settings, registry, log=log_lines.append)
    get(application, "/predict", "POST", body='{"features": [1, 2, 3]}')
    get(application, "/nothing")
    first, second = log_lines
    (metrics,) = first["_aws"]["CloudWatchMetrics"]
    assert metrics["Namespace"] == "predictions"
    assert metrics["Dimensions"] == [["route"], ["route", "model"]]
    for metric in metrics["Metrics"]:
        assert isinstance(first[metric["Name"]], (int, float))
    assert (first["failed"], first["cold_starts"], second["failed"], second["cold_starts"]) == (0, 1, 1, 0)
    assert second["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["route"]]
    assert first["_aws"]["Timestamp"] > 1_700_000_000_000


def test_requests_that_match_no_route_share_one_label(application):
    get(application, "/one")
    get(application, "/two")
    assert list(application.metrics.histograms) == [("none", "")]


def test_threads_share_one_application(application):
    answers = []

    def ask():
        for _ in range(20):
            answers.append(get(application, "/predict", "POST", body='{"features": [1, 2, 3]}'))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [status for status, _, _ in answers] == [200] * 80
    assert sum(value["cold_start"] for _, value, _ in answers) == 1
    assert application.metrics.n_requests == 80
    assert application.registry.loaded_names() == ["abc"]
