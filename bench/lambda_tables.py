"""The tables of what `bench.lambda_bench` stored. It measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from bench.container_images import PACKAGED
from bench.container_starts import PHASES
from bench.summary import summarise

NAME = "lambda_bench"


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Cold starts, memory and image size at each memory size."""
    result = read(NAME)
    if result is None:
        return ["Not measured yet: `python -m bench.lambda_bench`."]
    head = (
        "handler",
        "memory, MB",
        "cold start, ms",
        "p95",
        "init, ms",
        "against empty",
        "process, MiB",
        "container, MiB",
    )
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    titles = {one.name: one.title for one in PACKAGED}
    for memory_mb, size in result["sizes"].items():
        for name, title in titles.items():
            if name in size["left_out"]:
                lines.append(f"| {title} | {memory_mb} | {size['left_out'][name]} | | | | | |")
            elif name in size["samples"]:
                lines.append(f"| {' | '.join([title, memory_mb, *_cells(size, name)])} |")
    counts = [sum(found.values()) for size in result["sizes"].values() for found in size["compiled"].values()]
    n = sorted(
        {len(measures["total_ms"]) for size in result["sizes"].values() for measures in size["samples"].values()}
    )
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    machine = result["machine"]
    return [
        *lines,
        "",
        f"{' or '.join(map(str, n))} fresh containers each, behind the vendor's emulator, with the CPU share of the "
        "memory size: invocation to the whole first answer; median [95 % interval]. Init is the emulator's Init "
        "Duration. Memory is at its peak: of the runtime's process (`VmHWM`), and of the whole container's control "
        "group, with the emulator, without pages of files that an earlier container had read. `=` marks a ratio whose "
        "interval holds 1: no difference was found. "
        f"In all of our containers together {sum(counts)} files of bytecode or others were written, compilers mapped "
        "or further processes running.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}; {listed}; "
        f"commit {result['commit']}, {result['date']}.",
    ]


def _cells(size: Mapping[str, Any], name: str) -> list[str]:
    measures = size["samples"][name]
    total = summarise(measures["total_ms"])
    middle = total.median
    if name == "empty":
        ratio_text = "1"
    else:
        found = size["against_empty"][name]
        mark = "" if found["is_significant"] else " ="
        ratio_text = f"{found['ratio']:.2f} x [{found['interval'][0]:.2f}, {found['interval'][1]:.2f}]{mark}"
    return [
        f"{middle.value:,.0f} [{middle.low:,.0f}, {middle.high:,.0f}]",
        f"{total.p95:,.0f}",
        f"{median(measures['init_ms']):,.0f}",
        ratio_text,
        f"{median(measures['resident_mib']):.1f}",
        f"{median(measures['peak_mib']):.1f}",
    ]


def image_table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """What each image adds to its base image."""
    result = read(NAME)
    if result is None:
        return ["Not measured yet: `python -m bench.lambda_bench`."]
    added = result["added_bytes"]
    lines = ["| image | adds, MB | of it all |", "|---|---:|---:|"]
    for one in PACKAGED:
        if one.name in added and not (one.is_ours and one.name != "predict"):
            title = "realizar-lambda, all models" if one.is_ours else one.title
            share = added[one.name] / (added[one.name] + added["base"])
            lines.append(f"| {title} | {added[one.name] / 1e6:.1f} | {share:.1%} |")
    return [
        *lines,
        "",
        f"The base image has {added['base'] / 1e6:.1f} MB. Ours holds the bytecode of the standard library's modules "
        "that a start needs and the runtime client without its packages' tests and debuggers' symbols, the others the "
        "bytecode of all modules and the client as it is installed.",
    ]


def phase_table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Where the time goes, at the most memory that was measured."""
    result = read(NAME)
    if result is None:
        return ["Not measured yet: `python -m bench.lambda_bench`."]
    memory_mb, size = max(result["sizes"].items(), key=lambda item: int(item[0]))
    titles = {one.name: one.title for one in PACKAGED if one.name in size["phases"]}
    lines = [f"| ms at {memory_mb} MB | {' | '.join(titles.values())} |", "|---|" + "---:|" * len(titles)]
    for phase, title in PHASES.items():
        cells = [f"{median(run[phase] for run in size['phases'][name]):.1f}" for name in titles]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    n = len(next(iter(size["phases"].values())))
    return [
        *lines,
        "",
        f"Median of {n} extra runs each, with a probe inside. A peer that opens its model in native code "
        "loads it within the handler's import; what Numba compiled before is loaded after the weights.",
    ]
