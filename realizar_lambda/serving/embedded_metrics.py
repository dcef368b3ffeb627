"""CloudWatch's Embedded Metric Format: a log line that CloudWatch also reads as metrics. It counts nothing.

Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

METRICS = {
    "latency_ms": "Milliseconds",
    "failed": "Count",
    "cold_starts": "Count",
    "prompt_tokens": "Count",
    "generated_tokens": "Count",
}
"""What is a metric of a record, where it is there, and its unit."""


def embed(record: dict[str, object], namespace: str, *, timestamp_ms: int) -> None:
    """Make a request's log record a set of metrics of `namespace`, by route, and by route and model."""
    status = record["status"]
    record["failed"] = int(isinstance(status, int) and status >= 400)
    record["cold_starts"] = int(bool(record["cold_start"]))
    record["_aws"] = {
        "Timestamp": timestamp_ms,
        "CloudWatchMetrics": [
            {
                "Namespace": namespace,
                "Dimensions": [["route"], ["route", "model"]] if "model" in record else [["route"]],
                "Metrics": [{"Name": name, "Unit": unit} for name, unit in METRICS.items() if name in record],
            }
        ],
    }
