"""What the environment sets, read once and checked. It knows no file's content and no route."""

from __future__ import annotations

from realizar_lambda.errors import UnsupportedError
from realizar_lambda.loading import models_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
STREAMING_SOURCES = ("function_url", "api_gateway_v1")  # the event sources that can pass an answer on in pieces
HARD_MAX_BODY_BYTES = 6 * MIB  # what Lambda itself carries each way


class Settings:
    """The settings of one process.

    | attribute | variable | default |
    |---|---|---|
    | `models_dir` | REALIZAR_MODELS_DIR | `models` in LAMBDA_TASK_ROOT or beside the package |
    | `default_model` | REALIZAR_MODEL | "" (`default_models` says which model answers then) |
    | `huge_pages` | REALIZAR_HUGE_PAGES | off; on: weights are read into huge pages and not mapped |
    | `max_model_bytes` | REALIZAR_MAX_MODEL_BYTES | the function's memory; None (no limit) outside Lambda |
    | `max_body_bytes` | REALIZAR_MAX_BODY_BYTES | 1 MiB, at most 6 MiB |
    | `max_json_depth` | REALIZAR_MAX_JSON_DEPTH | 32 |
    | `max_batch` | REALIZAR_MAX_BATCH | 32 |
    | `max_tokens` | REALIZAR_MAX_TOKENS | 4096, the most that a request may ask for |
    | `reserve_seconds` | REALIZAR_RESERVE_MS | 500 ms, what is kept of an invocation's time to answer in |
    | `share_prefixes` | REALIZAR_SHARE_PREFIXES | none; caller, all: who goes on from whose computed prompts |
    | `metrics_namespace` | REALIZAR_METRICS_NAMESPACE | "" (no CloudWatch metrics in the log lines) |
    | `streamed_sources` | REALIZAR_STREAM | none; function_url, api_gateway_v1, or both with a comma: who streams |
    | `base_path` | REALIZAR_BASE_PATH | "" (a custom domain's mapping, cut off every path) |
    """

    __slots__ = (
        "base_path",
        "default_model",
        "huge_pages",
        "max_batch",
        "max_body_bytes",
        "max_json_depth",
        "max_model_bytes",
        "max_tokens",
        "metrics_namespace",
        "models_dir",
        "reserve_seconds",
        "share_prefixes",
        "streamed_sources",
    )

    def __init__(
        self,
        *,
        models_dir: str = "",
        default_model: str = "",
        huge_pages: bool = False,
        max_model_bytes: int | None = None,
        max_body_bytes: int = MIB,
        max_json_depth: int = 32,
        max_batch: int = 32,
        max_tokens: int = 4096,
        reserve_seconds: float = 0.5,
        share_prefixes: str = "none",
        base_path: str = "",
        metrics_namespace: str = "",
        streamed_sources: tuple[str, ...] = (),
    ) -> None:
        self.models_dir = models_dir
        self.default_model = default_model
        self.huge_pages = huge_pages
        self.max_model_bytes = max_model_bytes
        self.max_body_bytes = max_body_bytes
        self.max_json_depth = max_json_depth
        self.max_batch = max_batch
        self.max_tokens = max_tokens
        self.reserve_seconds = reserve_seconds
        self.share_prefixes = share_prefixes
        self.base_path = base_path
        self.metrics_namespace = metrics_namespace
        self.streamed_sources = streamed_sources

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read `environ`. Raises UnsupportedError that names the variable, its value and what it may be."""
        max_model_bytes: int | None = None
        memory_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        if memory_mb.isascii() and memory_mb.isdigit():
            max_model_bytes = int(memory_mb) * MIB
        if environ.get("REALIZAR_MAX_MODEL_BYTES"):
            max_model_bytes = _read_integer(environ, "REALIZAR_MAX_MODEL_BYTES", 0, 1, 1 << 50)
        base_path = environ.get("REALIZAR_BASE_PATH", "").strip("/")
        return cls(
            models_dir=models_folder(environ),
            default_model=environ.get("REALIZAR_MODEL", ""),
            huge_pages=_read_choice(environ, "REALIZAR_HUGE_PAGES", ("off", "on")) == "on",
            max_model_bytes=max_model_bytes,
            max_body_bytes=_read_integer(environ, "REALIZAR_MAX_BODY_BYTES", MIB, 1, HARD_MAX_BODY_BYTES),
            max_json_depth=_read_integer(environ, "REALIZAR_MAX_JSON_DEPTH", 32, 2, 256),
            max_batch=_read_integer(environ, "REALIZAR_MAX_BATCH", 32, 1, 4096),
            max_tokens=_read_integer(environ, "REALIZAR_MAX_TOKENS", 4096, 1, 1 << 24),
            reserve_seconds=_read_integer(environ, "REALIZAR_RESERVE_MS", 500, 0, 600_000) / 1000,
            share_prefixes=_read_choice(environ, "REALIZAR_SHARE_PREFIXES", ("none", "caller", "all")),
            base_path=f"/{base_path}" if base_path else "",
            metrics_namespace=environ.get("REALIZAR_METRICS_NAMESPACE", ""),
            streamed_sources=_read_choices(environ, "REALIZAR_STREAM", STREAMING_SOURCES),
        )


def _read_choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, the first where the variable is not set."""
    text = environ.get(name) or choices[0]
    if text not in choices:
        raise UnsupportedError(f"{name}={text[:100]!r}", f"one of {', '.join(choices)}")
    return text


def _read_choices(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> tuple[str, ...]:
    """Some of `choices`, separated by commas; none where the variable is not set."""
    found = tuple(filter(None, environ.get(name, "").replace(" ", "").split(",")))
    if not set(found) <= set(choices):
        raise UnsupportedError(f"{name}={environ[name][:100]!r}", f"some of {', '.join(choices)}")
    return found


def _read_integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high):
        raise UnsupportedError(f"{name}={text[:100]!r}", f"an integer from {low} to {high}")
    return int(text)
