"""What a computed prefix saves: the first token after a long prompt, cold, from a prefix file, and warm.

    python -m bench.prefix [--size 110M] [--type Q4_K] [--tokens 1024] [--rounds 15]

Each sample is a fresh process that loads a Llama of random weights, then answers a prompt of `--tokens` tokens that
is known to a file, and eight more that are not. The file is written before; its pages are in the page cache, as the
model's are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, machine, random_llama, results
from bench.summary import summarise

WAYS = {"cold": "prompt computed", "file": "prefix mapped from a file", "warm": "second request of the process"}

_WORKER = """
import json, sys, time
begun = time.perf_counter()
from realizar_lambda.language_model import LanguageModel
path, prefix, way, n = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
ids = [1 + i * 7919 % 31000 for i in range(n)]
more = list(range(100, 108))
llm = LanguageModel.open(path)
if way == "save":
    llm.save_prefix(prefix, ids)
    sys.exit()
if way == "warm":
    llm.generate([*ids, *more], max_tokens=1, temperature=0)
loaded = time.perf_counter()
if way == "file":
    llm.load_prefix(prefix)
found = llm.generate([*ids, *more[::-1]], max_tokens=1, temperature=0)
done = time.perf_counter()
print(json.dumps({"load_ms": (loaded - begun) * 1e3, "first_token_ms": (done - loaded) * 1e3,
                  "token": found.token_ids[-1], "cached": found.usage.cached_tokens}))
"""


def sample(model: str, prefix: str, way: str, n_tokens: int) -> dict[str, Any]:
    """What one fresh process measures."""
    command = [sys.executable, "-c", _WORKER, model, prefix, way, str(n_tokens)]
    environment = {**os.environ, "PYTHONPATH": str(machine.ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout) if done.stdout else {}


def measure(size: str, block: str, n_tokens: int, n_rounds: int) -> dict[str, object]:
    samples: dict[str, list[float]] = {way: [] for way in WAYS}
    tokens = set()
    with tempfile.TemporaryDirectory() as folder:
        model, prefix = str(Path(folder) / "model.gguf"), str(Path(folder) / "prompt.prefix")
        random_llama.write(model, size, block)
        sample(model, prefix, "save", n_tokens)
        for number in range(n_rounds):
            print(f"round {number + 1} of {n_rounds}", file=sys.stderr)
            for way in WAYS:
                found = sample(model, prefix, way, n_tokens)
                samples[way].append(found["first_token_ms"])
                tokens.add(found["token"])
        n_bytes, n_held = os.path.getsize(prefix), os.stat(prefix).st_blocks * 512
    if len(tokens) != 1:
        sys.exit(f"error: the ways give other tokens, {sorted(tokens)}")
    return {
        "commit": machine.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.machine(),
        "versions": machine.versions(sys.executable, ()),
        "settings": {"size": size, "block": block, "tokens": n_tokens, "rounds": n_rounds},
        "prefix_bytes": n_bytes,
        "prefix_bytes_on_disk": n_held,
        "samples": results.rounded_all(samples),
        "summary": results.summaries(samples),
    }


def table(read: Callable[[str], Mapping[str, Any] | None]) -> list[str]:
    """Time to the first token, each way."""
    result = read("prefix")
    if result is None:
        return ["Not measured yet: `python -m bench.prefix`."]
    settings, samples = result["settings"], result["samples"]
    lines = ["| way | first token, ms | against computing |", "|---|---:|---:|"]
    cold = median(samples["cold"])
    for way, title in WAYS.items():
        middle = summarise(samples[way]).median
        span = f"{middle.value:.1f} [{middle.low:.1f}, {middle.high:.1f}]"
        lines.append(f"| {title} | {span} | {middle.value / cold:.3f} x |")
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    cpu = result["machine"]
    return [
        *lines,
        "",
        f"A random Llama of {settings['size']} parameters in {settings['block']}, a prompt of {settings['tokens']} "
        f"known and 8 new tokens; median [95 % interval] of {settings['rounds']} fresh processes each; the file has "
        f"{result['prefix_bytes'] / 1e6:.1f} MB. All ways give the same token.",
        "",
        f"{cpu['cpu']}, {cpu['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command_line.parser("prefix", "Measure what a prefix file saves.", rounds=15)
    parser.add_argument("--size", choices=random_llama.SIZES, default="110M")
    parser.add_argument("--type", default="Q4_K")
    parser.add_argument("--tokens", type=int, default=1024)
    chosen = parser.parse_args(arguments)
    results.write("prefix", measure(chosen.size, chosen.type, chosen.tokens, chosen.rounds), folder=chosen.results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
