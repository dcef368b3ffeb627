"""Every event source: the same request, the answer in the source's own shape; and the real samples."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.bodies import base64_text

from events.make_events import HTTP_SOURCES, alb, alb_multi_value, api_gateway_v1, api_gateway_v2, function_url
from realizar_lambda.errors import RequestError
from realizar_lambda.serving.events import SOURCES, find_source
from realizar_lambda.serving.http import Response

BODY = '{"features": [1, 2, 0]}'


class FakeContext:
    """The part of Lambda's context that is read."""

    aws_request_id = "lambda-id"

    def get_remaining_time_in_millis(self) -> int:
        return 3000


def headers_of(response) -> dict[str, str]:
    if "headers" in response:
        return response["headers"]
    return {name: values[0] for name, values in response["multiValueHeaders"].items()}


def assert_is_proxy_response(response) -> None:
    assert type(response["statusCode"]) is int
    assert type(response["body"]) is str
    assert response["isBase64Encoded"] is False
    headers = headers_of(response)
    assert all(type(name) is str and type(value) is str for name, value in headers.items())
    assert ("headers" in response) != ("multiValueHeaders" in response)
    if headers["content-type"] == "application/json":
        json.loads(response["body"], parse_constant=pytest.fail)
    json.dumps(response, allow_nan=False)


@pytest.mark.parametrize(("_", "target"), SOURCES, ids=[target for _, target in SOURCES])
def test_every_source_of_the_table_can_be_imported(_, target):
    module, _, name = target.partition(":")
    imported = __import__(f"realizar_lambda.serving.events.{module}", fromlist=(name,))
    assert callable(getattr(imported, name)().answer)


@pytest.mark.parametrize("make", HTTP_SOURCES.values(), ids=HTTP_SOURCES)
def test_a_prediction_comes_back_in_the_shape_of_its_source(handler, log_lines, make):
    response = handler(make("POST", "/predict", BODY), FakeContext())
    assert_is_proxy_response(response)
    assert response["statusCode"] == 200
    assert json.loads(response["body"])["prediction"] == 1
    assert headers_of(response)["x-request-id"] == "lambda-id"
    assert log_lines[-1]["source"] == make.__name__


@pytest.mark.parametrize("make", HTTP_SOURCES.values(), ids=HTTP_SOURCES)
@pytest.mark.parametrize("path", ["/predict/", "/predict"])
def test_base64_trailing_slashes_and_header_case_are_the_same_everywhere(handler, make, path):
    headers = {"CONTENT-TYPE": "application/json"}
    event = make("POST", path, base64_text(BODY.encode()), headers=headers, is_base64=True)
    assert handler(event, None)["statusCode"] == 200


@pytest.mark.parametrize("make", HTTP_SOURCES.values(), ids=HTTP_SOURCES)
def test_raw_features_and_query_values_arrive_from_every_source(handler, make):
    event = make(
        "POST",
        "/predict",
        base64_text(bytes([9, 0, 0])),
        headers={"content-type": "application/octet-stream"},
        query={"model_id": "other"},
        is_base64=True,
    )
    response = handler(event, None)
    assert (response["statusCode"], json.loads(response["body"])["prediction"]) == (200, 0)


def test_a_load_balancer_sends_query_values_percent_encoded(handler):
    headers = {"content-type": "application/octet-stream"}
    for make in (alb, alb_multi_value):
        response = handler(make("POST", "/predict", "abc", headers=headers, query={"model_id": "a%2Fb+c"}), None)
        assert "no model is named 'a/b c'" in json.loads(response["body"])["error"]


def test_a_load_balancer_gets_a_status_description(handler):
    assert handler(alb("GET", "/health"), None)["statusDescription"] == "200 OK"
    assert handler(alb("GET", "/nothing"), None)["statusDescription"] == "404 Not Found"


def test_a_named_stage_is_cut_off_the_path_of_an_http_api_and_of_no_other(handler):
    assert handler(api_gateway_v2("GET", "/health", stage="prod"), None)["statusCode"] == 200
    assert handler(api_gateway_v2("GET", "/health", stage="health"), None)["statusCode"] == 200
    assert handler(api_gateway_v2("GET", "/prod/health"), None)["statusCode"] == 404
    assert handler(api_gateway_v1("GET", "/health"), None)["statusCode"] == 200
    assert handler(api_gateway_v1("GET", "/prod/health"), None)["statusCode"] == 404
    assert handler({**api_gateway_v1("GET", "/prod/health"), "version": "1.0"}, None)["statusCode"] == 200


def test_the_last_of_a_repeated_header_counts(handler):
    event = alb_multi_value("POST", "/predict", BODY)
    event["multiValueHeaders"] = {"Content-Type": ["text/plain", "application/json"]}
    assert handler(event, None)["statusCode"] == 200


def test_a_rest_event_without_single_value_headers_is_read_from_the_lists(handler):
    event = api_gateway_v1("POST", "/predict", BODY, headers={"content-type": "text/plain"})
    event["headers"] = None
    assert handler(event, None)["statusCode"] == 415


def test_a_binary_answer_travels_as_base64():
    source = find_source(api_gateway_v2("GET", "/"))
    answer = source.from_response(Response(200, b"\x00\xff", "application/octet-stream"))
    assert (answer["body"], answer["isBase64Encoded"]) == ("AP8=", True)


class SlowContext(FakeContext):
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.mark.parametrize(
    ("make", "context", "seconds"),
    [
        (api_gateway_v2, SlowContext(), 28),
        (api_gateway_v1, SlowContext(), 28),
        (function_url, SlowContext(), 900),
        (alb, SlowContext(), 900),
        (api_gateway_v2, FakeContext(), 3),
        (api_gateway_v2, None, 28),
        (function_url, None, None),
    ],
)
def test_the_deadline_is_the_invocations_or_the_gateways(application, make, context, seconds):
    from time import monotonic

    from realizar_lambda.serving.invocation import Invocation

    asked = []

    class Recorder:
        settings = application.settings

        def respond(self, request):
            asked.append(request)
            return application.respond(request)

    event = make("GET", "/health")
    find_source(event).answer(event, Invocation.from_context(context), Recorder())
    if seconds is None:
        assert asked[0].deadline is None
    else:
        assert seconds - 1 < asked[0].deadline - monotonic() <= seconds


SAMPLE_STATUSES = {
    "alb-lambda-target-request-headers-only.json": 404,
    "alb-lambda-target-request-multivalue-headers.json": 404,
    "apigw-request.json": 404,
    "apigw-restapi-openapi-request.json": 404,
    "apigw-v2-request-iam.json": 404,
    "apigw-v2-request-jwt-authorizer.json": 404,
    "apigw-v2-request-lambda-authorizer.json": 404,
    "apigw-v2-request-no-authorizer.json": 404,
    "lambda-urls-request.json": 404,
}
SAMPLE_ERRORS = {
    "alb-lambda-target-response.json": "the event is not understood",
    "apigw-response.json": "the event is not understood",
    "lambda-urls-response.json": "the event is not understood",
    "s3-event.json": "S3 notifications are not answered",
    "s3-event-with-decoded.json": "S3 notifications are not answered",
}


def test_every_real_sample_is_known_here(data_dir):
    samples = {path.name for path in (data_dir / "lambda-events").glob("*.json")}
    assert samples == {*SAMPLE_STATUSES, *SAMPLE_ERRORS, "sqs-event.json"}


@pytest.mark.parametrize(("name", "status"), SAMPLE_STATUSES.items())
def test_a_real_http_sample_has_a_well_formed_answer(handler, data_dir, name, status):
    response = handler(json.loads((data_dir / "lambda-events" / name).read_text()), FakeContext())
    assert_is_proxy_response(response)
    assert response["statusCode"] == status


@pytest.mark.parametrize("name", SAMPLE_STATUSES)
def test_a_real_http_sample_sent_to_predict_is_predicted(handler, data_dir, name):
    event = json.loads((data_dir / "lambda-events" / name).read_text())
    event["body"] = BODY
    if "rawPath" in event:
        event["rawPath"] = "/predict"
        event["requestContext"]["http"]["method"] = "POST"
    else:
        event["path"] = "/predict"
        event["httpMethod"] = "POST"
    response = handler(event, FakeContext())
    assert_is_proxy_response(response)
    assert (response["statusCode"], json.loads(response["body"])["prediction"]) == (200, 1)


@pytest.mark.parametrize(("name", "words"), SAMPLE_ERRORS.items())
def test_a_sample_that_asks_nothing_of_us_raises_in_words(handler, data_dir, name, words):
    with pytest.raises(RequestError, match=words):
        handler(json.loads((data_dir / "lambda-events" / name).read_text()), FakeContext())


def test_the_queue_sample_fails_its_one_message(handler, data_dir):
    event = json.loads((data_dir / "lambda-events" / "sqs-event.json").read_text())
    assert handler(event, FakeContext()) == {"batchItemFailures": [{"itemIdentifier": "MessageID_1"}]}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@st.composite
def http_events(draw):
    """An event that its source is recognised by, with anything in any of its other places."""
    make = draw(st.sampled_from(list(HTTP_SOURCES.values())))
    body = draw(st.sampled_from([BODY, None]) | anything)
    event = make("POST", draw(st.sampled_from(["/predict", "/predict/batch", "/health", "/models"])), body)
    changed = draw(st.dictionaries(st.sampled_from(sorted(event)), anything, max_size=4))
    kept = {key: value for key, value in changed.items() if key not in ("requestContext", "version")}
    event.update(kept)
    inner = draw(st.dictionaries(st.sampled_from(["stage", "requestId", "http"]), anything, max_size=2))
    event["requestContext"].update(inner)
    return event


@settings(max_examples=100, deadline=None, derandomize=True)
@given(event=http_events())
def test_a_proxy_event_with_anything_in_it_gets_a_valid_response(shared_handler, event):
    assert_is_proxy_response(shared_handler(event, None))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(body=st.text() | anything.map(json.dumps), path=st.sampled_from(["/predict", "/predict/batch"]))
def test_any_body_gets_a_valid_response(shared_handler, body, path):
    assert_is_proxy_response(shared_handler(api_gateway_v2("POST", path, body), None))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(event=anything)
def test_any_other_event_is_answered_or_refused_with_our_error(shared_handler, event):
    with contextlib.suppress(RequestError):
        json.dumps(shared_handler(event, None), allow_nan=False)
