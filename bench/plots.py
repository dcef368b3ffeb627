"""The figures of docs/plots, from stored results. They draw every sample, and know no benchmark's code.

    python -m bench.plots          (the `plots` extra)

The files are reproducible: the same results and matplotlib give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import llm, results
from bench.container_images import PACKAGED
from bench.contenders import CONTENDERS
from bench.machine import ROOT
from bench.predict_latency import TITLES
from bench.summary import ratio

FOLDER = ROOT / "docs" / "plots"
Result = Mapping[str, Any]

_OURS = "#1f6f5c"
_OTHERS = "#7d8a91"
_SAMPLE = "#20292d"
_GRID = "#e3e7e9"
_WHOLE_FROM = 100
_OUR_NAMES = ("realizar", "predict", "generate")
_TITLES = {contender.name: contender.title for contender in CONTENDERS}
_STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "realizar-lambda",
}


def dots(axes: Any, samples: Mapping[str, Sequence[float]], titles: Mapping[str, str], *, unit: str) -> None:
    """A row to each contender, the fastest at the top: every sample a dot, the median a large one.

    Dots and not bars, because the scale is logarithmic and has no zero for a bar to start from.
    """
    names = sorted(samples, key=lambda name: median(samples[name]))
    for place, name in enumerate(names):
        values = samples[name]
        middle = median(values)
        axes.axhline(place, color=_GRID, linewidth=0.8, zorder=0)
        axes.plot(values, [place] * len(values), ".", color=_SAMPLE, markersize=3, alpha=0.4)
        axes.plot(middle, place, "o", color=_OURS if name in _OUR_NAMES else _OTHERS, markersize=9)
        text = f"{middle:,.0f}" if middle >= _WHOLE_FROM else f"{middle:.3g}"
        axes.annotate(
            f"{text} {unit}",
            (max(values), place),
            xytext=(8, 4),
            textcoords="offset points",
        )
    axes.set_yticks(range(len(names)), [titles[name] for name in names])
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xscale("log")
    least, most = (pick(pick(values) for values in samples.values()) for pick in (min, max))
    axes.set_xlim(least / 1.5, most * 2.5)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel(f"{unit}, logarithmic")


def cold_start(figure: Any, result: Result) -> None:
    """Cold starts of every contender."""
    axes = figure.subplots()
    dots(axes, {name: found["total_ms"] for name, found in result["samples"].items()}, _TITLES, unit="ms")
    axes.set_title("Cold start: process spawn to first answer")


def lambda_bench(figure: Any, result: Result) -> None:
    """Cold starts in containers, a part to each memory size."""
    titles = {one.name: one.title for one in PACKAGED}
    sizes = result["sizes"]
    for axes, (memory_mb, size) in zip(figure.subplots(len(sizes), 1, squeeze=False)[:, 0], sizes.items(), strict=True):
        dots(axes, {name: found["total_ms"] for name, found in size["samples"].items()}, titles, unit="ms")
        axes.set_title(f"Cold start in a container of {int(memory_mb):,} MB and {size['cpu_share']:.2g} CPUs")


def predict_latency(figure: Any, result: Result) -> None:
    """One prediction of each model."""
    models = result["samples"]
    for axes, (model, batches) in zip(
        figure.subplots(len(models), 1, squeeze=False)[:, 0], models.items(), strict=True
    ):
        dots(axes, batches["1"], TITLES, unit="µs")
        axes.set_title(f"One prediction, {model}, one thread")


def memory(figure: Any, result: Result) -> None:
    """The peak of the resident set along the long runs."""
    axes = figure.subplots()
    for name, marks in result["growth"].items():
        axes.plot(marks["predictions"], marks["peak"], "o-", color=_OURS if name == "realizar" else _OTHERS)
        axes.annotate(
            _TITLES[name], (marks["predictions"][0], marks["peak"][0]), xytext=(0, 7), textcoords="offset points"
        )
    axes.set_ylim(0, max(max(marks["peak"]) for marks in result["growth"].values()) * 1.35)
    axes.set_xlabel("invocations answered by one process")
    axes.set_ylabel("peak, MiB resident")
    axes.set_title("Memory of the handler's process")


def llm_ratios(figure: Any, result: Result) -> None:
    """Our tokens per second over the strongest llama.cpp's, of every model, work and number of threads."""
    axes = figure.subplots()
    rows = [(size, block) for size, blocks in result["samples"].items() for block in blocks]
    for place, (size, block) in enumerate(rows):
        axes.axhline(place, color=_GRID, linewidth=0.8, zorder=0)
        for n_threads, works in result["samples"][size][block].items():
            for work, marker in (("prefill", "s"), ("decode", "o")):
                if work in works:
                    found = works[work]
                    against = ratio(found["realizar"], found[llm.strongest(found)])
                    color = _OURS if n_threads == "1" else _OTHERS
                    axes.plot([against.low, against.high], [place, place], color=color, linewidth=1.2)
                    axes.plot(against.value, place, marker, color=color, markersize=6)
    axes.axvline(1.0, color=_SAMPLE, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{size} {block}" for size, block in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlabel("times llama.cpp; circles decode, squares prefill; green one thread, grey more")
    isa = result["settings"]["isa"]
    axes.set_title("Tokens per second against llama.cpp" + ("" if isa == "best" else f", both on {isa}"))


PLOTS: Mapping[str, tuple[Callable[[Any, Result], None], tuple[float, float]]] = {
    "cold_start": (cold_start, (7.0, 2.6)),
    "llm": (llm_ratios, (7.0, 4.4)),
    "llm_x86_64_v3": (llm_ratios, (7.0, 4.4)),
    "lambda_bench": (lambda_bench, (7.0, 9.0)),
    "memory": (memory, (7.0, 2.6)),
    "predict_latency": (predict_latency, (7.0, 4.4)),
}
"""Stored result -> what draws it, size in inches."""


def write(name: str, result: Result, folder: Path) -> Path:
    """Draw one result into `folder`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    draw, size = PLOTS[name]
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure, result)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.svg"
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.plots", description="Draw the stored results.")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where they lie (default bench/results)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to draw (default docs/plots)")
    options = parser.parse_args(arguments)
    for name in PLOTS:
        result = results.read(name, folder=options.results)
        if result is None:
            print(f"{name}: not measured yet", file=sys.stderr)
            continue
        print(f"wrote {write(name, result, options.folder).name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
