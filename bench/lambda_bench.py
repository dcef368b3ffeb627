"""Cold starts in containers of Lambda's memory sizes, behind the vendor's emulator: ours, an empty one, the peers'.

    python -m bench.lambda_bench [--memory 128 --memory 512 --memory 1769] [--rounds 30] [--peer-python PYTHON]

A round starts each contender once. Where their CPU shares together are under half of the machine they start side by
side, since each waits most of the time for its quota; else in turn. One round before the first is thrown away, and
so is who fails in it: a peer whose memory does not suffice. `--add` adds rounds to what is stored of the same commit.
Stored in bench/results/lambda_bench.json, a section to each memory size.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench import command_line, results
from bench.container_images import PACKAGED, Packaged, added_bytes, available, build
from bench.container_starts import MEASURES, DoesNotFitError, checked, groups, phases_once, start_together
from bench.contenders import WrongAnswerError
from bench.lambda_tables import NAME
from bench.machine import stamp
from bench.summary import ratio
from demo.digits import read_digits
from lambda_emulator.container import cpu_share
from lambda_emulator.records import EmulatorError

MEMORY_MB = (128, 512, 1769)
_N_PHASE_ROUNDS = 5


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


def progress(line: str) -> None:
    print(f"[lambda] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("lambda_bench", "Time cold starts in containers.", rounds=30, least_rounds=2)
    parser.add_argument(
        "--memory", type=command_line.at_least(128), action="append", metavar="MB", help=f"default: {MEMORY_MB}"
    )
    command_line.add_peer_python(parser)
    command_line.add_base_image(parser)
    parser.add_argument("--only", action="append", default=[], choices=[one.name for one in PACKAGED])
    parser.add_argument("--add", action="store_true", help="add to the stored rounds of this commit")
    parser.add_argument("--no-build", action="store_true", help="measure the images that were built before")
    parser.add_argument("--build-only", action="store_true", help="only build the images")
    options = parser.parse_args(arguments)
    if options.build_only:
        chosen = [one for one in available(options.peer_python) if not options.only or one.name in options.only]
        build(chosen, base_image=options.base_image, peer_python=options.peer_python)
        return 0
    try:
        run(
            memory_sizes=options.memory or MEMORY_MB,
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
