"""The cold start to a first token: a prompt to the handler of the text function, beside an empty handler.

    python -m bench.first_token [--rounds 30] [--emulator own|vendor]

Fresh processes in turn, as `bench.cold_start` times them; the answer is one token of `models/stories-q4_k.gguf`, and
must be the same each time. Stored in bench/results/first_token.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import results
from bench.contenders import CONTENDERS, Contender
from bench.machine import ROOT, stamp
from bench.summary import ratio, summarise
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.phases import EMULATORS
from lambda_emulator.records import EmulatorError

MODEL = "stories-q4_k"
EVENT = api_gateway_v2("POST", "/generate", {"prompt": "Once upon a time", "max_tokens": 1, "model_id": MODEL})
EMPTY = next(contender for contender in CONTENDERS if contender.is_empty)
GENERATE = Contender("generate", "one token of stories-q4_k", "handlers.generate.handler", ROOT)


def start_once(contender: Contender, emulator: str) -> tuple[float, object]:
    """One fresh process: milliseconds from its spawn to the whole first answer, and the ids in that."""
    env = {} if contender.is_empty else {"REALIZAR_MODEL": MODEL}
    with EMULATORS[emulator](contender.handler, cwd=contender.cwd, env=env, python=sys.executable) as function:
        payload: Any = function.invoke(EVENT).payload
        if not isinstance(payload, dict) or payload.get("statusCode") != 200:
            raise EmulatorError(f"{contender.title} answered {payload!r:.300}")
        cold = function.cold_start
        if cold is None:
            raise EmulatorError(f"{contender.title} has no cold start")
        return cold.total_ms, None if contender.is_empty else tuple(json.loads(payload["body"])["token_ids"])


def measure(rounds: int, emulator: str) -> dict[str, list[float]]:
    """Milliseconds of both, round by round; a first round is thrown away."""
    samples: dict[str, list[float]] = {"empty": [], "generate": []}
    answers = set()
    for number in range(rounds + 1):
        for contender in (EMPTY, GENERATE) if number % 2 else (GENERATE, EMPTY):
            total, answer = start_once(contender, emulator)
            if not contender.is_empty:
                answers.add(answer)
            if number:
                samples[contender.name].append(total)
    if len(answers) != 1:
        raise EmulatorError(f"the handler gave several answers: {answers}")
    return results.rounded_all(samples)


def sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: a first token beside an empty handler's answer."""
    return result["samples"]["generate"], result["samples"]["empty"]


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Both cold starts, and their ratio."""
    result = read("first_token")
    if result is None:
        return ["Not measured yet: `python -m bench.first_token`."]
    samples, settings, machine = result["samples"], result["settings"], result["machine"]
    lines = ["| handler | cold start, ms | against empty |", "|---|---:|---:|"]
    for contender in (EMPTY, GENERATE):
        middle = summarise(samples[contender.name]).median
        against = ratio(samples[contender.name], samples["empty"])
        span = "1" if contender.is_empty else f"{against.value:.2f} x [{against.low:.2f}, {against.high:.2f}]"
        lines.append(f"| {contender.title} | {middle.value:.1f} [{middle.low:.1f}, {middle.high:.1f}] | {span} |")
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"Process spawn to the whole first answer, {settings['rounds']} fresh processes each, in turn; median "
        "[95 % interval].",
        "",
        f"{machine['cpu']}, {machine['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.first_token", description="The cold start to a token.")
    parser.add_argument("--rounds", type=int, default=30, help="fresh processes of each (default %(default)s)")
    parser.add_argument("--emulator", choices=sorted(EMULATORS), default="own")
    options = parser.parse_args(arguments)
    samples = measure(options.rounds, options.emulator)
    result = {
        "benchmark": "first_token",
        **stamp(packages=("awslambdaric",)),
        "settings": {"rounds": options.rounds, "emulator": options.emulator, "model": MODEL, "unit": "ms"},
        "samples": samples,
        "summary": results.summaries(samples),
    }
    print(f"[first_token] stored {results.write('first_token', result).name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
