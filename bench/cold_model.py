"""A large model out of the page cache: a container's cold start to its first token, against reading the file once.

    python -m bench.cold_model MODEL.gguf [--memory 1769] [--rounds 10]

Before each sample the file's pages are put out of memory, and it is checked that none is left. Reading is one
sequential pass of this process with a buffer of 1 MiB; the function runs in a container of the memory size's CPU share
behind the vendor's emulator, the model in a mounted folder of the same file system. The two are measured in turn.
Stored in bench/results/cold_model.json.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import command_line, results
from bench.container_images import OURS, PACKAGED, build
from bench.machine import stamp
from bench.summary import ratio, summarise
from lambda_emulator.container import ContainerFunction, cpu_share
from lambda_emulator.events import api_gateway_v2
from lambda_emulator.records import EmulatorError

NAME = "cold_model"
_MIB = 1 << 20
_STEP = 1 << 24


class StillInMemoryError(RuntimeError):
    """The file system keeps what it was told to forget: nothing cold can be measured on it."""


def forget(path: Path) -> None:
    """Put a file's pages out of memory. Raises StillInMemoryError where some stay."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        for position in range(0, os.fstat(descriptor).st_size, _STEP):
            try:
                os.preadv(descriptor, [bytearray(1)], position, os.RWF_NOWAIT)
            except BlockingIOError:
                continue
            raise StillInMemoryError(f"byte {position} of {path.name} is still in memory")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def read_ms(path: Path) -> float:
    """One pass over the file, front to back."""
    buffer = bytearray(_MIB)
    start = time.monotonic()
    descriptor = os.open(path, os.O_RDONLY)
    while os.readv(descriptor, [buffer]):
        pass
    os.close(descriptor)
    return (time.monotonic() - start) * 1000


def first_token_ms(path: Path, memory_mb: int, *, is_cold: bool) -> float:
    """A fresh container's invocation until its answer of one token."""
    body = {"prompt": "Once upon a time", "max_tokens": 1, "strategy": "greedy"}
    env = {"REALIZAR_MODELS_DIR": "/models", "REALIZAR_MODEL": path.stem}
    volumes = ((path.parent, "/models", "ro"),)
    function = ContainerFunction("handlers.generate.handler", image=OURS, memory_mb=memory_mb, env=env, volumes=volumes)
    with function:
        if is_cold:
            forget(path)
        answer = function.invoke(api_gateway_v2("POST", "/generate", body))
        payload = answer.payload if not answer.is_error else None
        if function.cold_start is None or not isinstance(payload, dict) or payload.get("statusCode") != 200:
            raise EmulatorError(f"no token: {answer.raw[:500]!r}\n{function.logs()[-2000:]}")
        return function.cold_start.total_ms


def run(model: Path, *, memory_mb: int, rounds: int, base_image: str | None, folder: Path) -> Path:
    build([one for one in PACKAGED if one.name == "generate"], base_image=base_image, peer_python=sys.executable)
    samples: dict[str, list[float]] = {"read": [], "cold": [], "warm": []}
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "a first round, thrown away")
        forget(model)
        found = {"read": read_ms(model), "cold": first_token_ms(model, memory_mb, is_cold=True)}
        found["warm"] = first_token_ms(model, memory_mb, is_cold=False)
        if number:
            for name, value in found.items():
                samples[name].append(value)
    stored = results.rounded_all(samples)
    device = os.stat(model).st_dev
    ahead = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/bdi/read_ahead_kb")
    result = {
        "benchmark": NAME,
        **stamp(packages=("aws-sam-cli",)),
        "settings": {
            "model_bytes": model.stat().st_size,
            "memory_mb": memory_mb,
            "cpu_share": round(cpu_share(memory_mb), 4),
            "rounds": rounds,
            "read_ahead_kib": int(ahead.read_text()) if ahead.exists() else None,
        },
        "samples": stored,
        "summary": results.summaries(stored),
    }
    return results.write(NAME, result, folder=folder)


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Reading the file, and a cold start to the first token, without and with its pages in memory."""
    result = read(NAME)
    if result is None:
        return ["Not measured yet: `python -m bench.cold_model MODEL.gguf`."]
    samples, settings, machine = result["samples"], result["settings"], result["machine"]
    titles = {
        "read": "read the file once, nothing of it in memory",
        "cold": "cold start to the first token, nothing of it in memory",
        "warm": "the same, all of it in memory",
    }
    lines = ["| | ms | against reading |", "|---|---:|---:|"]
    for name, title in titles.items():
        middle = summarise(samples[name]).median
        found = ratio(samples[name], samples["read"])
        against = "1" if name == "read" else f"{found.value:.2f} x [{found.low:.2f}, {found.high:.2f}]"
        lines.append(f"| {title} | {middle.value:.0f} [{middle.low:.0f}, {middle.high:.0f}] | {against} |")
    return [
        *lines,
        "",
        f"A random Llama of {settings['model_bytes'] / 1e6:.0f} MB in a container of {settings['memory_mb']:,} MB and "
        f"{settings['cpu_share']:g} CPUs; median [95 % interval] of {settings['rounds']} rounds in turn; the disk's "
        f"read-ahead is {settings['read_ahead_kib']} KiB.",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}; commit {result['commit']}, "
        f"{result['date']}.",
    ]


def progress(line: str) -> None:
    print(f"[cold model] {line}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("cold_model", "Time a large model's cold start.", rounds=10, least_rounds=2)
    parser.add_argument("model", type=Path)
    parser.add_argument("--memory", type=int, default=1769, metavar="MB")
    command_line.add_base_image(parser)
    options = parser.parse_args(arguments)
    try:
        path = run(
            options.model,
            memory_mb=options.memory,
            rounds=options.rounds,
            base_image=options.base_image,
            folder=options.results,
        )
    except (EmulatorError, StillInMemoryError, OSError) as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    progress(f"stored {path.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
