"""`realizar-lambda predict MODEL FEATURES...`: classify one row of features, from the arguments or from a file."""

from __future__ import annotations

import argparse
import json
import sys

from realizar_lambda.classification import Classifier
from realizar_lambda.cli.terminal import columns, escaped
from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.loading import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from realizar_lambda.classification import Prediction

BAR_CHARACTERS = 32
EIGHTHS = " ▏▎▍▌▋▊▉"
MAX_FILE_BYTES = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="a model file, or the name of one in the models folder")
    parser.add_argument("features", nargs="*", type=float, metavar="FEATURE", help="numbers on the model's raw scale")
    parser.add_argument(
        "--file",
        metavar="PATH",
        help="read the features from a file (- is stdin): raw u8 or f32 values, told apart by length, or JSON",
    )
    parser.add_argument("--top", type=_count, default=5, metavar="K", help="classes to show (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all probabilities")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError(f"a whole number of at least 1, got {text!r}")
    return int(text[:9])


def run(arguments: argparse.Namespace) -> int:
    if bool(arguments.features) == (arguments.file is not None):
        print("error: give the features as numbers or with --file, and not both", file=sys.stderr)
        return 2
    model = load(arguments.model)
    if not isinstance(model, Classifier):
        raise UnsupportedError(f"predict with {arguments.model}, which generates text,", "classifiers")
    features = arguments.features if arguments.file is None else read_features(_read(arguments.file), model.n_inputs)
    prediction = model.predict(features)
    if arguments.json:
        answer = {"model": model.name, "prediction": prediction.index, "label": prediction.label}
        answer["probabilities"] = list(prediction.probabilities)
        print(json.dumps(answer, allow_nan=False))
    else:
        print("\n".join(report(model, prediction, n_shown=arguments.top)))
    return 0


def _read(path: str) -> bytes:
    if path == "-":
        found = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
    else:
        with open(path, "rb") as file:
            found = file.read(MAX_FILE_BYTES + 1)
    if len(found) > MAX_FILE_BYTES:
        raise RequestError(413, f"{path} must have at most {MAX_FILE_BYTES} bytes, it has more", "file")
    return found


def read_features(content: bytes, n_inputs: int) -> bytes | list[object]:
    """The features in a file: `n_inputs` u8, `n_inputs` little-endian f32, else JSON: a list or {"features": [...]}.

    A file of JSON that is as long as raw values would be is taken for JSON. Raises RequestError.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        if len(content) in (n_inputs, 4 * n_inputs):
            return content
        raise RequestError(
            422,
            f"the file is not JSON and must then have {n_inputs} bytes (u8) or {4 * n_inputs} bytes (f32), "
            f"it has {len(content)}",
            "file",
        ) from None
    if isinstance(value, dict):
        value = value.get("features")
    if isinstance(value, list):
        return value
    if len(content) in (n_inputs, 4 * n_inputs):
        return content
    raise RequestError(422, 'the JSON must be a list of numbers or {"features": [...]}', "file")


def report(model: Classifier, prediction: Prediction, *, n_shown: int) -> list[str]:
    """The answer, then the most probable classes with a bar each."""
    probabilities = prediction.probabilities
    best = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:n_shown]
    rows = [(_label(model, index), _percent(probabilities[index]), bar(probabilities[index])) for index in best]
    answer = _percent(probabilities[prediction.index])
    return [f"{escaped(model.name)}: {_label(model, prediction.index)}  ({answer})", *columns(rows, right=(0, 1))]


def _label(model: Classifier, index: int) -> str:
    labels: Sequence[str] | None = model.labels
    return escaped(labels[index], max_characters=40) if labels else str(index)


def _percent(probability: float) -> str:
    return f"{100 * probability:.2f} %"


def bar(probability: float) -> str:
    """A bar of `BAR_CHARACTERS` for 1, in steps of an eighth of a character."""
    full, eighths = divmod(round(probability * BAR_CHARACTERS * 8), 8)
    return "█" * full + (EIGHTHS[eighths] if eighths else "")
