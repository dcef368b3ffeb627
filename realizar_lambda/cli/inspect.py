"""`realizar-lambda inspect FILE`: format, metadata, tensors, sizes and checksums of a model file, at a glance."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from math import isfinite

from realizar_lambda.cli.terminal import columns, escaped, size_text
from realizar_lambda.formats import ModelFile, open_model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_TENSORS = 24
_SHOWN_ITEMS = 6
_SHOWN_CHARACTERS = 72
_JSON_ITEMS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .gguf, .safetensors or .apr file, or a folder with one model")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--tensors",
        type=_tensor_count,
        default=None,
        metavar="N",
        help=f"list the first N tensors, or 'all' (default {DEFAULT_TENSORS}, all with --json)",
    )
    parser.add_argument("--verify", action="store_true", help="check checksums of large files too")


def _tensor_count(text: str) -> int:
    if text == "all":
        return 1 << 62
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a count or 'all', got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    model = open_model(arguments.file, verify=arguments.verify)
    if arguments.json:
        limit = len(model.tensors) if arguments.tensors is None else arguments.tensors
        print(json.dumps(describe(model, max_tensors=limit), indent=2, ensure_ascii=True, allow_nan=False))
    else:
        limit = DEFAULT_TENSORS if arguments.tensors is None else arguments.tensors
        print("\n".join(report(model, max_tensors=limit)))
    return 0


def describe(model: ModelFile, *, max_tensors: int) -> dict[str, object]:
    """What `--json` prints. Arrays of more than 1,000 items become {"n_items": n, "first": [...]}."""
    return {
        "path": model.path,
        "format": model.format,
        "n_bytes": model.n_bytes,
        "n_tensors": len(model.tensors),
        "n_parameters": sum(tensor.n_elements for tensor in model.tensors.values()),
        "checks": dict(model.checks),
        "metadata": _plain(model.metadata),
        "tensors": [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "type": tensor.block.name,
                "n_bytes": tensor.n_bytes,
                "offset": tensor.offset,
            }
            for tensor in list(model.tensors.values())[:max_tensors]
        ],
    }


def _plain(value: object) -> object:
    """`value` as JSON can hold it: infinities and NaN as text, bytes as text with escapes, long arrays cut."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    items: Sequence[object] = value  # type: ignore[assignment]
    if len(items) > _JSON_ITEMS:
        return {"n_items": len(items), "first": [_plain(items[i]) for i in range(_SHOWN_ITEMS)]}
    return [_plain(item) for item in items]


def report(model: ModelFile, *, max_tensors: int) -> list[str]:
    """The lines that people read."""
    tensors = list(model.tensors.values())
    n_parameters = sum(tensor.n_elements for tensor in tensors)
    n_tensor_bytes = sum(tensor.n_bytes for tensor in tensors)
    types = Counter(tensor.block.name for tensor in tensors)
    held = ", ".join(f"{count} {name}" for name, count in types.most_common())
    head = [
        ("format", model.format),
        ("size", f"{size_text(model.n_bytes)} ({model.n_bytes:,} bytes)"),
        ("tensors", f"{len(tensors)} ({held})" if tensors else "none"),
    ]
    if n_parameters:
        bits = 8 * n_tensor_bytes / n_parameters
        head.append(("parameters", f"{n_parameters:,} in {size_text(n_tensor_bytes)}, {bits:.2f} bits each"))
    lines = [escaped(model.path), *columns(head)]
    if model.checks:
        lines += ["", "Checks", *columns((name, state) for name, state in model.checks.items())]
    if model.metadata:
        values = ((escaped(str(key)), _summary(value)) for key, value in model.metadata.items())
        lines += ["", "Metadata", *columns(values)]
    if tensors and max_tensors:
        rows = (
            (
                escaped(tensor.name),
                " x ".join(f"{size:,}" for size in tensor.shape) or "scalar",
                tensor.block.name,
                size_text(tensor.n_bytes),
                f"{tensor.offset:,}",
            )
            for tensor in tensors[:max_tensors]
        )
        header = ("name", "shape", "type", "size", "offset")
        lines += ["", "Tensors", *columns([header, *rows], right=(3, 4))]
        if len(tensors) > max_tensors:
            lines.append(f"  … and {len(tensors) - max_tensors:,} more (--tensors all)")
    return lines


def _summary(value: object, *, is_inner: bool = False) -> str:
    """`value` on one line: text and arrays cut short, with their length."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        cut = escaped(value, max_characters=_SHOWN_CHARACTERS // 2 if is_inner else _SHOWN_CHARACTERS)
        if is_inner:
            return '"' + cut.replace('"', '\\"') + '"'
        return cut if len(value) <= _SHOWN_CHARACTERS else f"{cut} ({len(value):,} characters)"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return _joined(
            [
                f"{escaped(str(key))}: {_summary(item, is_inner=True)}"
                for key, item in list(value.items())[:_SHOWN_ITEMS]
            ],
            len(value),
            "{}",
        )
    items: Sequence[object] = value  # type: ignore[assignment]
    n_shown = min(len(items), _SHOWN_ITEMS)
    return _joined([_summary(items[i], is_inner=True) for i in range(n_shown)], len(items), "[]")


def _joined(parts: list[str], n_items: int, brackets: str) -> str:
    more = f", … {n_items:,} in all" if n_items > len(parts) else ""
    return f"{brackets[0]}{', '.join(parts)}{more}{brackets[1]}"
