"""The story model's loss curve as SVG: `python -m models.train.story_plot`, from `stories-loss.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CURVE = Path(__file__).with_name("stories-loss.json")
PLOT = ROOT / "docs" / "plots" / "stories-loss.svg"


def plot(curve: Path, path: Path) -> None:
    """Draw training and validation loss over steps; the same numbers give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "stories"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    numbers = json.loads(curve.read_text())
    steps = [row["step"] for row in numbers["curve"]]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(steps, [row["training_loss"] for row in numbers["curve"]], label="training stories, with dropout")
    axes.plot(steps, [row["validation_loss"] for row in numbers["curve"]], label="validation stories")
    axes.axvline(numbers["best_step"], color="grey", linewidth=0.8, linestyle="--", label="the weights kept")
    axes.set(xlabel="step", ylabel="loss, nats per token", title="Training of models/stories.gguf")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


if __name__ == "__main__":
    plot(CURVE, PLOT)
    sys.exit(0)
