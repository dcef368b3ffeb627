"""The tables of README and docs, from stored results: no number in them is typed.

    python -m bench.tables [--check]

A table stands between `<!-- bench:NAME -->` and `<!-- /bench -->`. With --check nothing is written and the
exit code is 1 where a document is not what the results say.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import (
    cold_model,
    exactness,
    huge_pages,
    lambda_tables,
    llm,
    load,
    perplexity,
    prefix,
    prompt_lookup,
    quantization_error,
    results,
    small_models,
    tokenization,
)
from bench.contenders import CONTENDERS
from bench.machine import ROOT
from bench.predict_latency import TITLES
from bench.summary import Interval, ratio, summarise
from bench.targets import ONNX, ONNX_FORWARD, PYTORCH, PYTORCH_FORWARD, latency, outcomes

Result = Mapping[str, Any]
Read = Callable[[str], Result | None]

_BLOCK = re.compile(r"(<!-- bench:([a-z0-9_]+) -->\n)(.*?)(<!-- /bench -->)", re.DOTALL)
_UNSTABLE = "\\*"
_PHASES = {
    "spawn": "spawn to Python",
    "runtime": "runtime init",
    "handler": "handler init",
    "model": "model load",
    "answer": "first answer",
}


class UnknownTableError(ValueError):
    """A document asks for a table that there is not."""


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table, its first column left, the others right."""
    lines = [f"| {' | '.join(head)} |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def timing(samples: Sequence[float], digits: int) -> str:
    """A median with its interval, marked where the samples scatter."""
    summary = summarise(samples)
    middle = summary.median
    mark = _UNSTABLE if summary.is_unstable else ""
    return f"{middle.value:.{digits}f}{mark} [{middle.low:.{digits}f}, {middle.high:.{digits}f}]"


def times(found: Interval, digits: int = 2) -> str:
    """A ratio with its interval."""
    return f"{found.value:.{digits}f} x [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def caption(result: Result, text: str, *, has_unstable: bool) -> list[str]:
    """What was measured, on what, of which commit."""
    machine, versions = result["machine"], result["versions"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = ["", text]
    if has_unstable:
        lines += ["", f"{_UNSTABLE} unstable: half of the samples are more than 5 % from the median."]
    lines += [
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; "
        f"{listed}; commit {result['commit']}, {result['date']}.",
    ]
    return lines


def cold_start(read: Read, name: str = "cold_start") -> list[str]:
    """Cold starts of every contender."""
    result = read(name)
    if result is None:
        return unmeasured("cold_start" if name == "cold_start" else "cold_start --emulator vendor")
    samples = result["samples"]
    rows = []
    is_unstable = False
    for contender in CONTENDERS:
        if contender.name not in samples:
            continue
        found = samples[contender.name]
        total = found["total_ms"]
        summary = summarise(total)
        is_unstable |= summary.is_unstable
        against = "1" if contender.is_empty else times(ratio(total, samples["empty"]["total_ms"]))
        rows.append(
            [
                contender.title,
                timing(total, 1),
                f"{summary.p95:.1f}",
                f"{summary.least:.1f}",
                against,
                f"{median(found['warm_ms']):.2f}",
                f"{median(found['peak_mib']):.1f}",
            ]
        )
    settings = result["settings"]
    emulator = "our own Runtime API" if settings["emulator"] == "own" else "the vendor's emulator"
    head = ["handler", "cold start, ms", "p95", "min", "against empty", "warm, ms", "peak, MiB"]
    text = (
        f"Process spawn to the first whole answer, {settings['rounds']} fresh processes each, in turn, behind "
        f"{emulator}; median [95 % interval]. Ours and the empty handler lie in a folder as an image has it; our "
        "loop is the image's entry, awslambdaric a zip's. Local figures, not Lambda's."
    )
    return [*grid(head, rows), *caption(result, text, has_unstable=is_unstable)]


def phases(read: Read) -> list[str]:
    """The split of our cold start and an empty handler's."""
    result = read("cold_start")
    if result is None:
        return unmeasured("cold_start")
    found = result["phases"]
    chosen = [contender for contender in CONTENDERS if contender.name in found]
    rows = [
        [title, *(f"{median(run[phase] for run in found[contender.name]):.2f}" for contender in chosen)]
        for phase, title in _PHASES.items()
    ]
    n = len(found[chosen[0].name])
    text = f"Median of {n} extra runs each, with a probe inside."
    return [*grid(["ms", *(contender.title for contender in chosen)], rows), *caption(result, text, has_unstable=False)]


def predict_latency(read: Read, name: str = "predict_latency", *, is_forward: bool = False) -> list[str]:
    """One prediction and a batch, beside the peers at the same work, or beside their models alone."""
    result = read(name)
    if result is None:
        return unmeasured("predict_latency")
    peers = PYTORCH_FORWARD + ONNX_FORWARD if is_forward else PYTORCH + ONNX
    rows = []
    is_unstable = False
    for model, batches in result["samples"].items():
        for batch, found in batches.items():
            chosen = [found.get(name, ()) for name in ("realizar", *peers)]
            is_unstable |= any(summarise(values).is_unstable for values in chosen if values)
            cells = [timing(values, 2) if values else "" for values in chosen]
            for group in (peers[:-1], peers[-1:]):
                sides = latency(model, *group, batch=int(batch))(result)
                cells.append("" if sides is None else times(ratio(*sides), 1))
            rows.append([model, batch, *cells])
    titles = [f"{TITLES[name]}, us" for name in ("realizar", *peers)]
    head = ["model", "batch", *titles, "faster than PyTorch", "than ONNX Runtime"]
    work = (
        "Ours does all of its work, the peers only the model, tensor to tensor."
        if is_forward
        else "All from features in Python's memory to the class and its probabilities as Python values."
    )
    text = (
        f"Median [95 % interval] of {result['settings']['rounds']} rounds' medians, one thread, every contender in "
        f"turn in a process of its own. Features are real digits, most of whose pixels are 0, which ours leaves out; "
        f"none is 0 in the rows that say so. {work}"
    )
    return [*grid(head, rows), *caption(result, text, has_unstable=is_unstable)]


def llm_result(read: Read, name: str = "llm", *, is_avx2: bool = False) -> list[str]:
    """Tokens per second beside llama.cpp's, the ratio to the strongest of its settings, and the part of memory's."""
    result = read(name)
    if result is None:
        return unmeasured("llm")
    rows = []
    for size, blocks in result["samples"].items():
        for block, by_threads in blocks.items():
            for n_threads, work in by_threads.items():
                for kind in ("prefill", "decode"):
                    if kind not in work:
                        continue
                    found, peer = work[kind], llm.strongest(work[kind])
                    rates = [f"{median(found[engine]):.1f}" for engine in ("realizar", peer)]
                    part = llm.of_memory(result, size, block, n_threads) if kind == "decode" else None
                    taken = "" if part is None else f"{part.value:.0%}"
                    against = times(ratio(found["realizar"], found[peer]))
                    rows.append([f"{size} {block}", n_threads, kind, *rates, against, taken])
    settings = result["settings"]
    prefill = "" if settings["depth"] else f"Prefill of {settings['prefill']} tokens, "
    text = (
        f"{prefill}{'decode' if prefill else 'Decode'} of {settings['decode']} after {settings['depth']}; median of "
        f"{settings['rounds']} rounds in turn; llama.cpp at the strongest of its settings"
        f"{', built for AVX2; both use AVX2 only' if is_avx2 else ''}. Of memory: weights per second against what as "
        "many threads read of the same pages."
    )
    head = ["random Llama", "threads", "work", "tokens/s", "llama.cpp", "ratio", "of memory"]
    commits = sorted({part["commit"] for part in result.get("parts", {}).values()} or {result["commit"]})
    stamped = {**result, "commit": ", ".join(commits)}
    return [*grid(head, rows), *caption(stamped, text, has_unstable=False)]


def memory(read: Read) -> list[str]:
    """Peak memory of the handler's process, and its growth."""
    result = read("memory")
    if result is None:
        return unmeasured("memory")
    samples = result["samples"]
    rows = []
    for contender in CONTENDERS:
        if contender.name not in samples["peak"]:
            continue
        peak = samples["peak"][contender.name]
        against = "1" if contender.is_empty else times(ratio(peak, samples["peak"]["empty"]))
        share = median(samples["proportional"][contender.name])
        marks = result["growth"][contender.name]
        grown = [f"{marks['peak'][place]:.1f}" for place in (0, -1)]
        rows.append([contender.title, timing(peak, 1), against, f"{share:.1f}", *grown])
    settings = result["settings"]
    marks = [f"after {n:,}" for n in (result["growth"]["realizar"]["predictions"][place] for place in (0, -1))]
    text = (
        f"Resident set after {settings['predictions']:,} predictions, {settings['rounds']} processes each; the last "
        "two columns are the peak along one long run."
    )
    head = ["handler", "peak, MiB", "against empty", "proportional share, MiB", *marks]
    return [*grid(head, rows), *caption(result, text, has_unstable=False)]


def targets(read: Read) -> list[str]:
    """What was promised and what is measured."""
    rows = []
    for target, measured in outcomes(read):
        if measured is None:
            rows.append([target.title, target.promise, "not measured", ""])
        else:
            digits = 3 if measured.value < 0.2 else 2
            rows.append([target.title, target.promise, times(measured, digits), target.verdict(measured)])
    return grid(["target", "promised", "measured", "verdict"], rows)


def unmeasured(benchmark: str) -> list[str]:
    return [f"Not measured yet: `python -m bench.{benchmark}`."]


TABLES: Mapping[str, Callable[[Read], list[str]]] = {
    "cold_model": cold_model.table,
    "cold_start": cold_start,
    "cold_start_vendor": lambda read: cold_start(read, "cold_start_vendor"),
    "exactness": exactness.table,
    "exactness_families": exactness.family_table,
    "huge_pages": huge_pages.table,
    "huge_pages_v3": lambda read: huge_pages.table(read, "huge_pages_x86_64_v3"),
    "llm": llm_result,
    "llm_depth": lambda read: llm_result(read, "llm_depth2000"),
    "llm_v3": lambda read: llm_result(read, "llm_x86_64_v3", is_avx2=True),
    "llm_v3_depth": lambda read: llm_result(read, "llm_x86_64_v3_depth2000", is_avx2=True),
    "lambda": lambda_tables.table,
    "lambda_images": lambda_tables.image_table,
    "lambda_phases": lambda_tables.phase_table,
    "load": load.table,
    "memory": memory,
    "perplexity": perplexity.table,
    "phases": phases,
    "predict_forward": lambda read: predict_latency(read, is_forward=True),
    "predict_latency": predict_latency,
    "predict_latency_v3": lambda read: predict_latency(read, "predict_latency_x86_64_v3"),
    "prefix": prefix.table,
    "prompt_lookup": prompt_lookup.table,
    "prompt_lookup_v3": lambda read: prompt_lookup.table(read, "prompt_lookup_x86_64_v3"),
    "quantization_error": quantization_error.table,
    "small_models": small_models.table,
    "small_models_v3": lambda read: small_models.table(read, "small_models_x86_64_v3"),
    "targets": targets,
    "tokenization": tokenization.table,
}
"""Name in a document -> the table."""


def rewritten(text: str, read: Read = results.read) -> str:
    """A document with every table made anew. Raises UnknownTableError."""

    def table(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise UnknownTableError(f"no table is named {name!r}; there are {', '.join(sorted(TABLES))}")
        return match[1] + "\n".join(TABLES[name](read)) + "\n" + match[4]

    return _BLOCK.sub(table, text)


def documents(root: Path = ROOT) -> list[Path]:
    """The files that may hold tables."""
    return [path for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))) if path.exists()]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description="Write the tables of stored results.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a table is stale")
    is_check = parser.parse_args(arguments).check
    stale = []
    for path in documents():
        text = path.read_text()
        try:
            made = rewritten(text)
        except UnknownTableError as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return 1
        if made != text:
            stale.append(path)
            if not is_check:
                path.write_text(made)
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'is stale; run python -m bench.tables' if is_check else 'rewritten'}")
    return 1 if stale and is_check else 0


if __name__ == "__main__":
    raise SystemExit(main())
