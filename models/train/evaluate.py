"""What the checked-in classifiers reach on the rows held out from training, measured with the package's engine.

    python -m models.train.evaluate --data FOLDER [--models FOLDER] [--record] [NAME ...]

Prints one line per model. Exits 1 when a measurement differs from the manifest's; `--record` writes it there
instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import realizar_lambda

from . import manifest
from .datasets import DATASETS

if TYPE_CHECKING:
    from .datasets import Split

MODELS_FOLDER = Path(__file__).resolve().parent.parent


def measure(path: Path, split: Split) -> dict[str, Any]:
    """The share of the split's test rows that the model file answers rightly."""
    model = realizar_lambda.Classifier.open(str(path))
    answers = [prediction.index for prediction in model.predict_batch(list(split.test_features))]
    n_correct = int((np.array(answers) == split.test_labels).sum())
    n_rows = len(answers)
    return {"value": n_correct / n_rows, "n_correct": n_correct, "n_rows": n_rows, "rows": split.test_rows}


def main(arguments: list[str] | None = None) -> int:
    """Measure the named models, or all; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m models.train.evaluate", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="classifiers to measure; all when none is named")
    parser.add_argument("--data", type=Path, required=True, help="the folder of data sets")
    parser.add_argument("--models", type=Path, default=MODELS_FOLDER, help="the folder of model files")
    parser.add_argument("--record", action="store_true", help="write what was measured into the manifest")
    options = parser.parse_args(arguments)
    entries = {name: entry for name, entry in manifest.read(options.models).items() if entry["kind"] == "classifier"}
    unknown = sorted(set(options.names) - entries.keys())
    if unknown:
        parser.error(f"no classifier in the manifest: {', '.join(unknown)}; it has {', '.join(entries)}")
    splits: dict[str, Split] = {}
    n_different = 0
    for name in options.names or entries:
        entry = entries[name]
        dataset = entry["dataset"]
        if dataset not in splits:
            splits[dataset] = DATASETS[dataset].read(options.data)
        found = measure(options.models / entry["file"], splits[dataset])
        line = f"{name:20} {found['value']:8.2%}  {found['n_correct']} of {found['n_rows']}: {found['rows']}"
        if options.record:
            manifest.record(options.models, name, entry | {"accuracy": found})
        elif found != entry.get("accuracy"):
            n_different += 1
            line += f"; the manifest says {entry.get('accuracy')}"
        print(line, flush=True)
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
