"""Metrics in the Prometheus text exposition format 0.0.4. It counts nothing itself.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from realizar_lambda.serving.metrics import BUCKETS_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from realizar_lambda.serving.metrics import Metrics

DURATION = "realizar_request_duration_seconds"

SERIES: tuple[tuple[str, str, str, Callable[[Metrics], float]], ...] = (
    ("realizar_requests_total", "counter", "Requests answered.", lambda m: m.n_requests),
    (
        "realizar_requests_successful",
        "counter",
        "Requests answered with a status below 400.",
        lambda m: m.n_requests - m.n_failed,
    ),
    (
        "realizar_requests_failed",
        "counter",
        "Requests answered with a status of 400 or more.",
        lambda m: m.n_failed,
    ),
    ("realizar_tokens_generated", "counter", "Tokens generated.", lambda m: m.n_tokens),
    (
        "realizar_inference_time_seconds",
        "counter",
        "Seconds spent inside models.",
        lambda m: m.inference_seconds,
    ),
    (
        "realizar_requests_per_second",
        "gauge",
        "Requests per second of uptime.",
        lambda m: _ratio(m.n_requests, m.uptime_seconds()),
    ),
    (
        "realizar_tokens_per_second",
        "gauge",
        "Tokens generated per second spent inside models.",
        lambda m: _ratio(m.n_tokens, m.inference_seconds),
    ),
    (
        "realizar_avg_latency_ms",
        "gauge",
        "Mean milliseconds from request to answer.",
        lambda m: 1000 * _ratio(m.latency_seconds, m.n_requests),
    ),
    (
        "realizar_error_rate",
        "gauge",
        "Share of requests that failed.",
        lambda m: _ratio(m.n_failed, m.n_requests),
    ),
    ("realizar_uptime_seconds", "gauge", "Seconds since this process started.", lambda m: m.uptime_seconds()),
    ("lambda_cold_starts", "counter", "First requests of a fresh process.", lambda m: m.n_cold_starts),
)


def write_exposition(metrics: Metrics) -> str:
    """Every series of `metrics`; the text ends with a newline."""
    lines = []
    for name, kind, sentence, value in SERIES:
        lines += [f"# HELP {name} {sentence}", f"# TYPE {name} {kind}", f"{name} {_number(value(metrics))}"]
    lines.append(f"# HELP {DURATION} Seconds from request to answer, by route and model.")
    lines.append(f"# TYPE {DURATION} histogram")
    for (route, model), histogram in sorted(metrics.histograms.items()):
        labels = f'route="{_escape(route)}",model="{_escape(model)}"'
        n_so_far = 0
        for bound, count in zip((*BUCKETS_SECONDS, "+Inf"), histogram.counts, strict=True):
            n_so_far += count
            lines.append(f'{DURATION}_bucket{{{labels},le="{bound}"}} {n_so_far}')
        lines.append(f"{DURATION}_sum{{{labels}}} {_number(histogram.total_seconds)}")
        lines.append(f"{DURATION}_count{{{labels}}} {n_so_far}")
    return "\n".join(lines) + "\n"


def _ratio(amount: float, whole: float) -> float:
    return amount / whole if whole > 0 else 0.0


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
