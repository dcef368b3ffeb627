"""Cold starts in containers of Lambda's memory sizes, behind the vendor's emulator: ours, an empty one, the peers'.

    python -m bench.lambda_bench [--memory 128 --memory 512 --memory 1769] [--rounds 30] [--peer-python PYTHON]

A round starts each contender once. Where their CPU shares together are under half of the machine they start side by
side, since each waits most of the time for its quota; else in turn. One round before the first is thrown away, and
so is who fails in it: a peer whose memory does not suffice. `--add` adds rounds to what is stored of the same commit.
Stored in bench/results/lambda_bench.json, a section to each memory size.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench import results
from bench.container_images import PACKAGED, Packaged, added_bytes, available, build
from bench.contenders import PEERS, Contender, WrongAnswerError, check_answer, predict_event
from bench.machine import stamp
from bench.summary import ratio, summarise
from demo.digits import Digit, read_digits
from lambda_emulator import probe
from lambda_emulator.container import ContainerFunction, cpu_share, entry_of
from lambda_emulator.environment import program
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.records import EmulatorError, Invocation

NAME = "lambda_bench"
MEMORY_MB = (128, 512, 1769)
MEASURES = ("total_ms", "init_ms", "first_answer_ms", "peak_mib", "resident_mib")
PHASES = {
    "spawn": "spawn to Python",
    "runtime": "runtime init",
    "handler": "handler import",
    "model": "model load",
    "inference": "first inference",
    "response": "event and response",
}
PROMPT = "Once upon a time"
COMPILERS = ("numba", "llvmlite", "libLLVM")
_MIB = 2**20
_N_PHASE_ROUNDS = 5
_PROCESSES = 2  # the emulator and the runtime


class DoesNotFitError(RuntimeError):
    """A contender gives no answer in this memory."""


def event_of(one: Packaged, digit: Digit) -> dict[str, object]:
    """What a contender is sent."""
    if one.kind == "generate":
        body = {"model_id": "stories-q4_k", "prompt": PROMPT, "max_tokens": 1, "strategy": "greedy"}
        return api_gateway_v2("POST", "/generate", body)
    return predict_event(digit)


def checked(one: Packaged, answer: Invocation, expected: object, logs: str) -> object:
    """What a contender answered, compared with `expected` unless that is None. Raises WrongAnswerError."""
    contender = Contender(one.name, one.title, one.handler, PEERS, is_empty=one.kind == "empty")
    if one.kind != "generate":
        probabilities = expected if isinstance(expected, list) else None
        return check_answer(contender, answer, probabilities, logs) or None
    payload = answer.payload if not answer.is_error else None
    if not isinstance(payload, dict) or payload.get("statusCode") != 200:
        raise WrongAnswerError(f"{one.title} answered {answer.raw[:500]!r}\n{logs[-2000:]}")
    text = str(json.loads(payload["body"])["text"]).removeprefix(PROMPT)  # which not everybody repeats
    if not text or expected not in (None, text):
        raise WrongAnswerError(f"{one.title} went on with {text!r}, expected {expected!r}")
    return text


def groups(chosen: Sequence[Packaged], memory_mb: int, n_cpus: int) -> Iterator[Sequence[Packaged]]:
    """Who starts side by side: as many as take half of the machine together, at least one."""
    n = max(1, int(n_cpus / 2 / cpu_share(memory_mb)))
    for begin in range(0, len(chosen), n):
        yield chosen[begin : begin + n]


def start_together(
    group: Sequence[Packaged], digit: Digit, memory_mb: int
) -> dict[str, tuple[Invocation, dict[str, float], dict[str, Any]]]:
    """One fresh container of each: (answer, measures, what it holds), by contender. Raises DoesNotFitError for the
    first that gives none."""
    with ExitStack() as stack:
        running = {}
        for one in group:
            function = ContainerFunction(
                one.handler, image=one.image, memory_mb=memory_mb, env=dict(one.env), volumes=one.volumes
            )
            stack.enter_context(function)
            running[one.name] = function
        with ThreadPoolExecutor(len(group)) as threads:
            waiting = {one.name: threads.submit(running[one.name].invoke, event_of(one, digit)) for one in group}
            for one in group:
                waiting[one.name].exception()
        return {one.name: _outcome(one, running[one.name], waiting[one.name].result) for one in group}


def _outcome(
    one: Packaged, function: ContainerFunction, result: Callable[[], Invocation]
) -> tuple[Invocation, dict[str, float], dict[str, Any]]:
    n_killed = function.n_killed()
    try:
        answer = result()
    except EmulatorError as error:
        raise DoesNotFitError(f"no answer ({error})") from error
    if n_killed:
        raise DoesNotFitError("killed for memory")
    cold = function.cold_start
    if answer.is_error or cold is None:
        raise DoesNotFitError(f"failed: {answer.raw[:200]!r}")
    measures = {
        "total_ms": cold.total_ms,
        "init_ms": cold.init_ms,
        "first_answer_ms": cold.first_answer_ms,
        "peak_mib": function.peak_group_bytes() / _MIB,
        "resident_mib": function.peak_memory_bytes() / _MIB,
    }
    held = {} if not one.is_ours else what_it_holds(function)
    return answer, measures, held


def what_it_holds(function: ContainerFunction) -> dict[str, Any]:
    """Whether something was compiled: bytecode and other files written, compilers mapped, other processes."""
    written = function.written_files()
    return {
        "bytecode_written": sum(path.endswith(".pyc") for path in written),
        "files_written": len(written),
        "compilers_mapped": sum(any(name in path for name in COMPILERS) for path in function.mapped_files()),
        "other_processes": len(function.processes()) - _PROCESSES,
    }


def measure(
    chosen: Sequence[Packaged], *, memory_mb: int, rounds: int, n_cpus: int
) -> tuple[dict[str, dict[str, list[float]]], dict[str, str], dict[str, dict[str, int]]]:
    """(samples, {contender: why it has none}, what was compiled at most)."""
    digits = read_digits()
    left_out: dict[str, str] = {}
    fitting = []
    for one in chosen:
        try:
            start_together([one], digits[0], memory_mb)
            fitting.append(one)
        except DoesNotFitError as error:
            left_out[one.name] = str(error)
            progress(f"{memory_mb} MB: {one.title} is left out: {error}")
    samples: dict[str, dict[str, list[float]]] = {one.name: {name: [] for name in MEASURES} for one in fitting}
    most: dict[str, dict[str, int]] = {}
    for number in range(rounds):
        progress(f"{memory_mb} MB: round {number + 1} of {rounds}")
        digit = digits[number % len(digits)]
        turn = number % len(fitting)
        expected: dict[str, object] = {}
        for group in groups([*fitting[turn:], *fitting[:turn]], memory_mb, n_cpus):
            found = start_together(group, digit, memory_mb)
            for one in group:
                answer, measures, held = found[one.name]
                value = checked(one, answer, expected.get(one.kind), "")
                if value is not None:
                    expected[one.kind] = value
                for name in MEASURES:
                    samples[one.name][name].append(measures[name])
                if held:
                    before = most.get(one.name, held)
                    most[one.name] = {name: max(before[name], count) for name, count in held.items()}
    return samples, left_out, most


def measure_phases(chosen: Sequence[Packaged], *, memory_mb: int, n_cpus: int) -> dict[str, list[dict[str, float]]]:
    """The split of each cold start, from extra runs with the probe inside."""
    digit = read_digits()[0]
    found: dict[str, list[dict[str, float]]] = {one.name: [] for one in chosen}
    for number in range(_N_PHASE_ROUNDS):
        progress(f"{memory_mb} MB: phases, round {number + 1} of {_N_PHASE_ROUNDS}")
        for group in groups(chosen, memory_mb, n_cpus):
            with ThreadPoolExecutor(len(group)) as threads:
                split = threads.map(lambda one: phases_once(one, digit, memory_mb), group)
                for one, phases in zip(group, split, strict=True):
                    found[one.name].append({name: round(value, 4) for name, value in phases.items()})
    return found


def phases_once(one: Packaged, digit: Digit, memory_mb: int) -> dict[str, float]:
    """Where the time of one cold start went, in ms; the parts add up to all of it."""
    with tempfile.TemporaryDirectory() as folder:
        volumes = (*one.volumes, (Path(probe.__file__), "/probe.py", "ro"), (Path(folder), "/notes", "rw"))
        function = ContainerFunction(
            one.handler,
            image=one.image,
            memory_mb=memory_mb,
            env=dict(one.env),
            entry=probe.entry(entry_of(one.image), "/probe.py", "/notes/notes.json"),
            volumes=volumes,
        )
        with function:
            answer = function.invoke(event_of(one, digit))
            cold = function.cold_start
            if answer.is_error or cold is None:
                raise EmulatorError(f"{one.title} did not answer under the probe: {answer.raw[:500]!r}")
        notes = json.loads((Path(folder) / "notes.json").read_text())
    model_ns = notes["model_opened_ns"] or notes["handler_ready_ns"]
    marks = (
        cold.start_ns,
        notes["started_ns"],
        notes["runtime_ready_ns"],
        model_ns,
        notes["handler_ready_ns"],
    )
    spawn, runtime, handler, model = ((after - before) / 1e6 for before, after in pairwise(marks))
    inference = (notes["answered_ns"] - notes["called_ns"]) / 1e6
    response = cold.total_ms - spawn - runtime - handler - model - inference
    return dict(zip(PHASES, (spawn, runtime, handler, model, inference, response), strict=True))


def run(
    *,
    memory_sizes: Sequence[int],
    rounds: int,
    base_image: str | None,
    peer_python: str,
    folder: Path,
    only: Sequence[str] = (),
    is_adding: bool = False,
    is_building: bool = True,
) -> Path:
    """Build, measure, store."""
    chosen = [one for one in available(peer_python) if not only or one.name in only]
    if is_building:
        progress("building the images of " + ", ".join(one.title for one in chosen))
        build(chosen, base_image=base_image, peer_python=peer_python)
    sizes = added_bytes(chosen, base_image=base_image)
    packages = tuple(name for one in chosen for name in one.packages)
    stamped: dict[str, Any] = stamp(
        pythons=(peer_python, sys.executable), packages=("awslambdaric", "aws-sam-cli", *packages)
    )
    stored: dict[str, Any] = results.read(NAME, folder=folder) or {}
    is_same = stored.get("commit") == stamped["commit"]
    kept = stored.get("sizes", {}) if is_same else {}
    if is_same:  # what was measured of other contenders stays told
        sizes = {**stored["added_bytes"], **sizes}
        stamped["versions"] = {**stored["versions"], **stamped["versions"]}
    n_cpus = len(os.sched_getaffinity(0))
    for memory_mb in memory_sizes:
        samples, left_out, most = measure(chosen, memory_mb=memory_mb, rounds=rounds, n_cpus=n_cpus)
        before = kept.get(str(memory_mb), {}) if is_adding else {}
        for name, measures in before.get("samples", {}).items():
            for measured, values in measures.items():
                if name in samples:
                    samples[name][measured] = [*values, *samples[name][measured]]
        phases = before.get("phases") or measure_phases(
            [one for one in chosen if one.name in samples], memory_mb=memory_mb, n_cpus=n_cpus
        )
        rounded = {name: results.rounded_all(measures) for name, measures in samples.items()}
        kept[str(memory_mb)] = {
            "cpu_share": round(cpu_share(memory_mb), 4),
            "side_by_side": len(next(groups(chosen, memory_mb, n_cpus))),
            "samples": rounded,
            "summary": {name: results.summaries(measures) for name, measures in rounded.items()},
            "against_empty": {name: against(rounded, name, "empty") for name in rounded if name != "empty"},
            "phases": phases,
            "left_out": left_out,
            "compiled": most,
        }
        result = {
            "benchmark": NAME,
            **stamped,
            "settings": {"model": "mnist_mlp", "text_model": "stories-q4_k", "max_tokens": 1},
            "added_bytes": sizes,
            "sizes": {size: kept[size] for size in sorted(kept, key=int)},
        }
        path = results.write(NAME, result, folder=folder)
        progress(f"stored {memory_mb} MB in {path.name}")
    return path


def against(samples: Mapping[str, Mapping[str, Sequence[float]]], name: str, other: str) -> dict[str, Any]:
    """The ratio of two cold starts, and whether they differ at all: where its interval leaves 1 out."""
    found = ratio(samples[name]["total_ms"], samples[other]["total_ms"])
    return {
        "ratio": round(found.value, 4),
        "interval": [round(found.low, 4), round(found.high, 4)],
        "is_significant": found.low > 1 or found.high < 1,
    }


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
        "that a start needs, the others' that of all modules.",
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


def progress(line: str) -> None:
    print(f"[lambda] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.lambda_bench", description="Time cold starts in containers.")
    parser.add_argument("--memory", type=int, action="append", metavar="MB", help=f"default: {MEMORY_MB}")
    parser.add_argument("--rounds", type=int, default=30, help="fresh containers of each (default %(default)s)")
    parser.add_argument("--peer-python", type=program, default=sys.executable, help="that has the peers")
    parser.add_argument("--base-image", default=os.environ.get("REALIZAR_BASE_IMAGE"), help="default: Dockerfile's")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="where to store (default bench/results)")
    parser.add_argument("--only", action="append", default=[], choices=[one.name for one in PACKAGED])
    parser.add_argument("--add", action="store_true", help="add to the stored rounds of this commit")
    parser.add_argument("--no-build", action="store_true", help="measure the images that were built before")
    parser.add_argument("--build-only", action="store_true", help="only build the images")
    options = parser.parse_args(arguments)
    memory_sizes = tuple(options.memory or MEMORY_MB)
    if options.rounds < 2 or min(memory_sizes) < 128:
        parser.error("--rounds must be at least 2 and --memory at least 128")
    if options.build_only:
        chosen = [one for one in available(options.peer_python) if not options.only or one.name in options.only]
        build(chosen, base_image=options.base_image, peer_python=options.peer_python)
        return 0
    try:
        run(
            memory_sizes=memory_sizes,
            rounds=options.rounds,
            base_image=options.base_image,
            peer_python=options.peer_python,
            folder=options.results,
            only=options.only,
            is_adding=options.add,
            is_building=not options.no_build,
        )
    except (EmulatorError, WrongAnswerError, DoesNotFitError) as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
