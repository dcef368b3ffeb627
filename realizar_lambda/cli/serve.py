"""`realizar-lambda serve`: the application on a local port, the same that answers in Lambda."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys

from realizar_lambda.cli.terminal import columns, escaped, size_text
from realizar_lambda.cli.text_input import have_huge_pages
from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import Application
from realizar_lambda.serving.settings import Settings

DEFAULTS = {"REALIZAR_SHARE_PREFIXES": "all"}
"""What the environment need not set here and must in Lambda: who asks a server on one's own machine is oneself."""

EXAMPLES = (
    ("", "/health", ""),
    ("", "/models", ""),
    ("generate", "/generate", '{"prompt": "Once upon a time", "max_tokens": 40}'),
    ("generate", "/tokenize", '{"text": "Once upon a time"}'),
)
"""Kind of model that there must be, path, and what to post."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", action="store_true", help="serve the trained models that are checked in")
    parser.add_argument("--model", action="append", default=[], metavar="PATH", help="serve this file, too")
    parser.add_argument("--huge-pages", action="store_true", help="read models into huge pages, once each")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8080, help="port to listen on (default 8080, 0 for any)")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Serve until interrupted. Logs one JSON line per request on stdout; everything else is on stderr."""
    settings = Settings.from_env({**DEFAULTS, **os.environ})
    if not arguments.demo and not arguments.model:
        print("error: nothing to serve: give --demo, or --model PATH", file=sys.stderr)
        return 2
    for path in arguments.model:
        os.stat(path)
    huge_pages = (arguments.huge_pages or settings.huge_pages) and have_huge_pages()
    registry = Registry(settings.models_dir if arguments.demo else None, paths=arguments.model, huge_pages=huge_pages)
    if not registry.names():
        raise FileNotFoundError(errno.ENOENT, "no model files here", settings.models_dir)
    summaries = registry.summaries()
    broken = [summary for summary in summaries if "error" in summary]
    if broken and arguments.model:
        print(f"error: {broken[0]['error']}", file=sys.stderr)
        return 1
    try:
        from realizar_lambda.serving.local_server import LocalServer
    except ModuleNotFoundError as error:
        if error.name != "waitress":
            raise
        print("error: the local server needs waitress: pip install 'realizar-lambda[serve]'", file=sys.stderr)
        return 1
    server = LocalServer(Application(settings, registry), host=arguments.host, port=arguments.port)
    print("\n".join(describe(summaries, server.url)), file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.run()
    print("stopped", file=sys.stderr)
    return 0


def describe(summaries: list[dict[str, Any]], url: str) -> list[str]:
    """What is served, and lines to try it with."""
    rows = [
        (
            escaped(summary["id"]),
            summary.get("kind", ""),
            summary.get("quantization") or "",
            size_text(summary["size_bytes"]),
            escaped(summary.get("error") or summary.get("description") or "", max_characters=60),
        )
        for summary in summaries
    ]
    kinds = {summary.get("kind") for summary in summaries}
    tries = [example(url, path, body) for kind, path, body in EXAMPLES if not kind or kind in kinds]
    if any(summary["id"] == "iris" for summary in summaries):
        tries.append(example(url, "/predict", '{"features": [5.1, 3.5, 1.4, 0.2], "model_id": "iris"}'))
    return [
        *columns(rows, right=(3,)),
        "",
        f"listening on {url}   (Ctrl-C stops)",
        "",
        *((("  try  " if number == 0 else "       ") + line) for number, line in enumerate(tries)),
        "",
    ]


def example(url: str, path: str, body: str) -> str:
    """A command line that asks a route."""
    return f"curl {url}{path}" + (f" --json '{body}'" if body else "")
