"""Counters and histograms, and their exposition byte for byte."""

from __future__ import annotations

from realizar_lambda.serving.exposition import SERIES, write_exposition
from realizar_lambda.serving.metrics import BUCKETS_SECONDS, Metrics

CONTRACT = {
    "realizar_requests_total",
    "realizar_requests_successful",
    "realizar_requests_failed",
    "realizar_tokens_generated",
    "realizar_inference_time_seconds",
    "realizar_requests_per_second",
    "realizar_tokens_per_second",
    "realizar_avg_latency_ms",
    "realizar_error_rate",
    "realizar_uptime_seconds",
    "lambda_cold_starts",
}

EXPECTED = """\
# HELP realizar_requests_total Requests answered.
# TYPE realizar_requests_total counter
realizar_requests_total 4
# HELP realizar_requests_successful Requests answered with a status below 400.
# TYPE realizar_requests_successful counter
realizar_requests_successful 3
# HELP realizar_requests_failed Requests answered with a status of 400 or more.
# TYPE realizar_requests_failed counter
realizar_requests_failed 1
# HELP realizar_tokens_generated Tokens generated.
# TYPE realizar_tokens_generated counter
realizar_tokens_generated 6
# HELP realizar_inference_time_seconds Seconds spent inside models.
# TYPE realizar_inference_time_seconds counter
realizar_inference_time_seconds 0.5
# HELP realizar_requests_per_second Requests per second of uptime.
# TYPE realizar_requests_per_second gauge
realizar_requests_per_second 0.5
# HELP realizar_tokens_per_second Tokens generated per second spent inside models.
# TYPE realizar_tokens_per_second gauge
realizar_tokens_per_second 12.0
# HELP realizar_avg_latency_ms Mean milliseconds from request to answer.
# TYPE realizar_avg_latency_ms gauge
realizar_avg_latency_ms 10253.90625
# HELP realizar_error_rate Share of requests that failed.
# TYPE realizar_error_rate gauge
realizar_error_rate 0.25
# HELP realizar_uptime_seconds Seconds since this process started.
# TYPE realizar_uptime_seconds gauge
realizar_uptime_seconds 8.0
# HELP lambda_cold_starts First requests of a fresh process.
# TYPE lambda_cold_starts counter
lambda_cold_starts 1
# HELP realizar_request_duration_seconds Seconds from request to answer, by route and model.
# TYPE realizar_request_duration_seconds histogram
"""


class FakeClock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def observe(metrics, seconds, *, route="/predict", model="m", is_failed=False, is_cold_start=False):
    metrics.observe_request(route=route, model=model, is_failed=is_failed, is_cold_start=is_cold_start, seconds=seconds)


def test_the_exposition_is_written_byte_for_byte():
    clock = FakeClock()
    metrics = Metrics(clock=clock)
    observe(metrics, 0.0001, is_cold_start=True)
    observe(metrics, 0.015525)
    observe(metrics, 1.0)
    observe(metrics, 40.0, route="none", model="", is_failed=True)
    metrics.latency_seconds = 41.015625
    metrics.observe_inference(0.25, n_tokens=6)
    metrics.observe_inference(0.25)
    clock.now = 108.0
    text = write_exposition(metrics)
    assert text.startswith(EXPECTED)
    series = "realizar_request_duration_seconds"
    lines = text.removeprefix(EXPECTED).splitlines()
    predict = [line for line in lines if 'route="/predict",model="m"' in line]
    assert predict[0] == f'{series}_bucket{{route="/predict",model="m",le="0.0001"}} 1'
    assert predict[6] == f'{series}_bucket{{route="/predict",model="m",le="0.01"}} 1'
    assert predict[7] == f'{series}_bucket{{route="/predict",model="m",le="0.025"}} 2'
    assert predict[12] == f'{series}_bucket{{route="/predict",model="m",le="1.0"}} 3'
    assert predict[-3] == f'{series}_bucket{{route="/predict",model="m",le="+Inf"}} 3'
    assert predict[-2] == f'{series}_sum{{route="/predict",model="m"}} 1.015625'
    assert predict[-1] == f'{series}_count{{route="/predict",model="m"}} 3'
    none = [line for line in lines if 'route="none",model=""' in line]
    assert none[-4:-2] == [
        f'{series}_bucket{{route="none",model="",le="30.0"}} 0',
        f'{series}_bucket{{route="none",model="",le="+Inf"}} 1',
    ]
    assert len(lines) == len(predict) + len(none) == 2 * (len(BUCKETS_SECONDS) + 3)
    assert text.endswith("\n")


def test_every_series_of_the_contract_is_there_and_a_fresh_process_divides_by_nothing():
    assert {name for name, *_ in SERIES} == CONTRACT
    clock = FakeClock()
    text = write_exposition(Metrics(clock=clock))
    assert "realizar_requests_per_second 0.0\n" in text
    assert "realizar_avg_latency_ms 0.0\n" in text


def test_label_values_are_escaped():
    metrics = Metrics()
    observe(metrics, 0.1, model='a"b\\c\nd')
    assert 'model="a\\"b\\\\c\\nd"' in write_exposition(metrics)


def test_the_metrics_route_answers_in_the_exposition_format(handler):
    from events.make_events import api_gateway_v2

    response = handler(api_gateway_v2("GET", "/metrics"), None)
    assert response["headers"]["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert response["body"].startswith("# HELP realizar_requests_total")
