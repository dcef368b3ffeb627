"""Tokenizers beside the libraries whose answers they give: time until one is ready, time for a megabyte of English.

    python -m bench.tokenization [--rounds N]

The vocabularies and the text are the reference data's. Peers are the dev extra's `tokenizers` and `sentencepiece`;
each works on one thread, and all must give the same ids before a time counts. "Ready" is a fresh process, from
before the first import of the tokenizer's library to the ids of a first short text; Python's own start is not in it.
"Mapped" is the part of ours between a GGUF file that is open, its metadata walked, and a tokenizer made from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench import command_line, machine, results
from bench.summary import ratio, summarise

TITLES = {"realizar": "realizar-lambda", "tokenizers": "tokenizers", "sentencepiece": "sentencepiece"}
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LARGEST = "Llama 3, 128,256 tokens"
READY_LIMIT_MS = 25
"""What is promised of the largest vocabulary, from an open file to a tokenizer."""

VOCABULARIES = {
    LARGEST: ("ggml-vocab-llama-bpe.gguf", "tokenizers"),
    "GPT-2, 50,257 tokens": ("ggml-vocab-gpt-2.gguf", "tokenizers"),
    "Llama 2, 32,000 tokens": ("sentencepiece/llama2-tokenizer.model", "sentencepiece"),
}
"""Title -> (file in the reference data's `tokenizers`, the library that has the same)."""

SHORT = "Hello world, this is a tokenizer."
N_BYTES = 1_000_000

_READY = """
import sys, time
started = time.perf_counter()
mapped = 0.0
if sys.argv[1] == "realizar":
    from realizar_lambda.tokenizers import from_model_file, load
    if sys.argv[2].endswith(".gguf"):
        from realizar_lambda.formats import open_model
        model = open_model(sys.argv[2])
        opened = time.perf_counter()
        tokenizer = from_model_file(model)
        mapped = time.perf_counter() - opened
    else:
        tokenizer = load(sys.argv[2])
    ids = tokenizer.encode(sys.argv[3], add_special=False)
elif sys.argv[1] == "tokenizers":
    from tokenizers import Tokenizer
    ids = Tokenizer.from_file(sys.argv[2]).encode(sys.argv[3], add_special_tokens=False).ids
else:
    from sentencepiece import SentencePieceProcessor
    ids = SentencePieceProcessor(model_file=sys.argv[2]).encode(sys.argv[3])
print((time.perf_counter() - started) * 1e3, mapped * 1e3, *ids)
"""


def data_dir() -> Path:
    """The reference data's folder; the program ends with a sentence where it is not there."""
    configured = os.environ.get("REALIZAR_TEST_DATA")
    folder = Path(configured) if configured else machine.ROOT.parent / "shared" / "data"
    if not (folder / "tokenizers").is_dir():
        sys.exit("error: no reference data: set REALIZAR_TEST_DATA or put it in ../shared/data")
    return folder


def write_json(path: Path, target: Path) -> None:
    """The GGUF vocabulary at `path` as the tokenizer.json that the `tokenizers` library reads."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    from realizar_lambda.formats import open_model

    metadata = open_model(path).metadata
    tokens: Any = metadata["tokenizer.ggml.tokens"]
    merges: Any = metadata["tokenizer.ggml.merges"]
    is_llama = metadata["tokenizer.ggml.pre"] == "llama-bpe"
    pairs = [tuple(merge.split(" ")) for merge in merges]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs, ignore_merges=is_llama))
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not is_llama)
    split = [pre_tokenizers.Split(Regex(LLAMA_3), "isolated")] if is_llama else []
    made.pre_tokenizer = pre_tokenizers.Sequence([*split, as_bytes])
    made.decoder = decoders.ByteLevel()
    made.save(str(target))


def ready_ms(library: str, path: Path) -> tuple[float, float]:
    """Time until a fresh process has the ids of a short text, and the part of it behind the open file."""
    command = [sys.executable, "-c", _READY, library, str(path), SHORT]
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    words = subprocess.run(command, capture_output=True, text=True, check=True, cwd=machine.ROOT, env=environment)
    elapsed, mapped, *_ = words.stdout.split()
    return float(elapsed), float(mapped)


def encoders(library: str, ours: Path, theirs: Path) -> tuple[Any, Any]:
    """A function from text to ids of ours, and of the peer."""
    from realizar_lambda.tokenizers import load

    tokenizer = load(ours)
    if library == "tokenizers":
        from tokenizers import Tokenizer

        peer = Tokenizer.from_file(str(theirs))
        return (
            lambda text: tokenizer.encode(text, add_special=False),
            lambda text: peer.encode_batch_fast([text], add_special_tokens=False)[0].ids,
        )
    from sentencepiece import SentencePieceProcessor

    return lambda text: tokenizer.encode(text, add_special=False), SentencePieceProcessor(model_file=str(theirs)).encode


def measure(rounds: int) -> dict[str, object]:
    """Samples of every vocabulary, ours and the peer's in turn; a first round is thrown away."""
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    folder = data_dir()
    prose = (folder / "corpora" / "pride_and_prejudice.txt").read_text() * 2
    text = prose[:N_BYTES]
    samples: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (title, (name, library)) in enumerate(VOCABULARIES.items()):
            ours = theirs = folder / "tokenizers" / name
            if library == "tokenizers":
                theirs = Path(scratch) / f"{number}.json"
                write_json(ours, theirs)
            encode, encode_theirs = encoders(library, ours, theirs)
            if encode(text) != list(encode_theirs(text)):
                sys.exit(f"error: {title}: the ids differ from those of {library}")
            found: dict[str, dict[str, list[float]]] = {"ready_ms": {}, "mapped_ms": {}, "encode_ms": {}}
            for turn in range(rounds + 1):
                print(f"{title}: round {turn} of {rounds}", file=sys.stderr)
                both = (("realizar", ours, encode), (library, theirs, encode_theirs))
                for contender, path, function in both if turn % 2 else reversed(both):
                    elapsed, mapped = ready_ms(contender, path)
                    started = time.perf_counter()
                    function(text)
                    spent = (time.perf_counter() - started) * 1e3
                    if turn and mapped:
                        found["mapped_ms"].setdefault(contender, []).append(mapped)
                    if turn:
                        found["ready_ms"].setdefault(contender, []).append(elapsed)
                        found["encode_ms"].setdefault(contender, []).append(spent)
            samples[title] = {work: results.rounded_all(values) for work, values in found.items()}
    return {
        "commit": machine.commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine.machine(),
        "versions": machine.versions(sys.executable, ("tokenizers", "sentencepiece")),
        "settings": {"rounds": rounds, "bytes": N_BYTES},
        "samples": samples,
        "summary": {
            title: {work: results.summaries(values) for work, values in works.items()}
            for title, works in samples.items()
        },
    }


def ready_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: from the open file to a tokenizer of the largest vocabulary, beside the limit."""
    ours = result["samples"][LARGEST]["mapped_ms"]["realizar"]
    return ours, [float(READY_LIMIT_MS)] * len(ours)


def encode_sides(result: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """For a target: how long the peer of the largest vocabulary takes for the text, and we."""
    found = result["samples"][LARGEST]["encode_ms"]
    return found[VOCABULARIES[LARGEST][1]], found["realizar"]


def table(read: Any) -> list[str]:
    """Both times for every vocabulary, and how many times faster we are."""
    result: Mapping[str, Any] | None = read("tokenization")
    if result is None:
        return ["Not measured yet: `python -m bench.tokenization`."]
    lines = [
        "| vocabulary | beside | ready, ms | theirs | faster | mapped, ms | 1 MB of English, ms | theirs | faster |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for title, works in result["samples"].items():
        peer = next(name for name in works["ready_ms"] if name != "realizar")
        cells = [title, TITLES[peer]]
        for work in ("ready_ms", "encode_ms"):
            ours, theirs = works[work]["realizar"], works[work][peer]
            against = ratio(theirs, ours)
            cells += [_timing(ours), f"{median(theirs):.1f}"]
            cells.append(f"{against.value:.1f} x [{against.low:.1f}, {against.high:.1f}]")
            if work == "ready_ms":
                mapped = works["mapped_ms"].get("realizar")
                cells.append(_timing(mapped) if mapped else "")
        lines.append(f"| {' | '.join(cells)} |")
    settings, found = result["settings"], result["machine"]
    listed = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return [
        *lines,
        "",
        f"Median of {settings['rounds']} rounds in turn [95 % interval], one thread. Ready is a fresh process, from "
        "the import to the ids of a first short text; mapped is the part of it from an open GGUF file to a tokenizer. "
        "`tokenizers` encodes with its fastest call, without offsets.",
        "",
        f"{found['cpu']}, {found['cores']} cores; {listed}; commit {result['commit']}, {result['date']}.",
    ]


def _timing(samples: Sequence[float]) -> str:
    middle = summarise(samples).median
    return f"{middle.value:.1f} [{middle.low:.1f}, {middle.high:.1f}]"


def main() -> None:
    options = command_line.parser("tokenization", "Time tokenizers.", rounds=11).parse_args()
    print(results.write("tokenization", measure(options.rounds), folder=options.results))
    print(json.dumps(table(results.read), indent=0))


if __name__ == "__main__":
    main()
