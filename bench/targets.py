"""What the project promises, as limits on ratios of stored samples. It knows results, and no table's look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bench import huge_pages, llm, load, prompt_lookup, results, small_models, tokenization
from bench.summary import Interval, ratio, verdict

Result = Mapping[str, Any]
Samples = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Target:
    """A promise: `samples(result)` are the two sides of a ratio that must be at most, or at least, `limit`."""

    title: str
    result: str
    samples: Callable[[Result], Samples | None]
    limit: float
    is_upper: bool

    @property
    def promise(self) -> str:
        limit = f"{self.limit:g}" if self.limit >= 1 else str(Fraction(self.limit).limit_denominator(100))
        return f"at {'most' if self.is_upper else 'least'} {limit} x"

    def measured(self, result: Result) -> Interval | None:
        """The ratio, or None where a side was not measured."""
        sides = self.samples(result)
        return None if sides is None else ratio(*sides)

    def verdict(self, measured: Interval) -> str:
        """How `measured` stands to the promise: "met", "missed" or "unclear"."""
        return verdict(measured, self.limit, is_upper=self.is_upper)


def cold(numerator: str, denominator: str) -> Callable[[Result], Samples | None]:
    """Cold starts of one contender against another's."""

    def sides(result: Result) -> Samples | None:
        samples = result["samples"]
        if numerator not in samples or denominator not in samples:
            return None
        return samples[numerator]["total_ms"], samples[denominator]["total_ms"]

    return sides


def latency(model: str, *peers: str, batch: int = 1) -> Callable[[Result], Samples | None]:
    """The fastest of `peers` against ours: how many times faster we are."""

    def sides(result: Result) -> Samples | None:
        found = result["samples"].get(model, {}).get(str(batch), {})
        present = [peer for peer in peers if peer in found]
        if not present or "realizar" not in found:
            return None
        medians = result["summary"][model][str(batch)]
        best = min(present, key=lambda peer: medians[peer]["median"])
        return found[best], found["realizar"]

    return sides


def peak_memory(result: Result) -> Samples | None:
    """Our peak against an empty handler's."""
    peaks = result["samples"]["peak"]
    return peaks["realizar"], peaks["empty"]


def in_container(memory_mb: int, numerator: str, denominator: str) -> Callable[[Result], Samples | None]:
    """Cold starts of one image against another's, in containers of a memory size."""

    def sides(result: Result) -> Samples | None:
        samples = result["sizes"].get(str(memory_mb), {}).get("samples", {})
        if numerator not in samples or denominator not in samples:
            return None
        return samples[numerator]["total_ms"], samples[denominator]["total_ms"]

    return sides


def peak_in_container(memory_mb: int, name: str, limit_mib: float) -> Callable[[Result], Samples | None]:
    """The peak of a process in a container against a limit: the kernel's larger count, its own or the container's."""

    def sides(result: Result) -> Samples | None:
        found = result["sizes"].get(str(memory_mb), {}).get("samples", {}).get(name)
        if found is None:
            return None
        peaks = [max(pair) for pair in zip(found["resident_mib"], found["peak_mib"], strict=True)]
        return peaks, [limit_mib] * len(peaks)

    return sides


def image_share(result: Result) -> Samples | None:
    """What our image adds to its base against 15 MB."""
    added = result["added_bytes"].get("predict")
    return None if added is None else ([added], [15e6])


def against_reading(result: Result) -> Samples:
    """A large model's cold start to its first token against reading its file."""
    return result["samples"]["cold"], result["samples"]["read"]


def growth(result: Result) -> Samples:
    """The peak at the end of the long run against that after its first tenth."""
    peaks = result["growth"]["realizar"]["peak"]
    return peaks[-1:], peaks[:1]


def count(n_threads: int) -> str:
    """So many threads, in words."""
    return "1 thread" if n_threads == 1 else f"{n_threads} threads"


PYTORCH = ("torch_eager", "torchscript")
PYTORCH_FORWARD = ("torch_eager_forward", "torchscript_forward")
ONNX = ("onnxruntime",)
ONNX_FORWARD = ("onnxruntime_forward",)

SETS = (("", ""), ("_x86_64_v3", ", on AVX2"))
"""What is promised on any machine is measured with AVX-512 and, stored apart, with AVX2 alone on all sides."""

TARGETS = (
    Target("cold start, against an empty handler", "cold_start", cold("realizar", "empty"), 1.2, is_upper=True),
    Target(
        "cold start, vendor's emulator, the same", "cold_start_vendor", cold("realizar", "empty"), 1.2, is_upper=True
    ),
    Target(
        "cold start behind awslambdaric, against an empty handler",
        "cold_start",
        cold("realizar_client", "empty"),
        1.25,
        is_upper=True,
    ),
    Target("first token, against an empty handler", "cold_start", cold("generate", "empty"), 1.5, is_upper=True),
    Target(
        "first token, vendor's emulator, the same", "cold_start_vendor", cold("generate", "empty"), 1.5, is_upper=True
    ),
    Target("cold start, against PyTorch", "cold_start", cold("realizar", "torch"), 1 / 20, is_upper=True),
    Target(
        "cold start behind awslambdaric, against PyTorch",
        "cold_start",
        cold("realizar_client", "torch"),
        1 / 15,
        is_upper=True,
    ),
    Target("cold start, against ONNX Runtime", "cold_start", cold("realizar", "onnxruntime"), 0.5, is_upper=True),
    *(
        Target(
            f"cold start in {memory_mb:,} MB, against an empty handler",
            "lambda_bench",
            in_container(memory_mb, "predict", "empty"),
            1.2,
            is_upper=True,
        )
        for memory_mb in (128, 512, 1769)
    ),
    *(
        Target(
            f"cold start in {memory_mb:,} MB, against PyTorch",
            "lambda_bench",
            in_container(memory_mb, "predict", "torch"),
            1 / 20,
            is_upper=True,
        )
        for memory_mb in (512, 1769)
    ),
    Target(
        "first token in 128 MB, against an empty handler",
        "lambda_bench",
        in_container(128, "generate", "empty"),
        1.5,
        is_upper=True,
    ),
    Target(
        "peak memory in 128 MB, against 64 MiB",
        "lambda_bench",
        peak_in_container(128, "predict", 64.0),
        1,
        is_upper=True,
    ),
    Target("image with all models, added to its base, against 15 MB", "lambda_bench", image_share, 1, is_upper=True),
    Target(
        "first token of a model that no memory holds, against reading its file",
        "cold_model",
        against_reading,
        1.3,
        is_upper=True,
    ),
    *(
        Target(
            f"{model}{on}, faster than {title}",
            f"predict_latency{suffix}",
            latency(model, *peers),
            limit,
            is_upper=False,
        )
        for suffix, on in SETS
        for model, title, peers, limit in (
            ("784-2", "PyTorch", PYTORCH, 10),
            ("784-128-10", "PyTorch", PYTORCH, 5),
            ("784-2", "ONNX Runtime", ONNX, 5),
            ("784-128-10", "ONNX Runtime", ONNX, 1.5),
        )
    ),
    *(
        Target(f"{work}, against llama.cpp{on}, the least of all", name, llm.least_sides(kind), 1.0, is_upper=False)
        for suffix, on in SETS
        for name, kind, work in (
            (f"llm{suffix}", "decode", "decode"),
            (f"llm{suffix}", "prefill", "prefill"),
            (f"llm{suffix}_depth2000", "decode", "decode after 2,000 tokens"),
        )
    ),
    *(
        Target(
            f"1.1B decode{on}, against reading its pages, the least",
            f"llm{suffix}",
            llm.least_memory_sides,
            0.9,
            is_upper=False,
        )
        for suffix, on in SETS
    ),
    *(
        Target(
            f"1.1B Q4_K decode from huge pages, {count(n_threads)}{on}, against llama.cpp {title}",
            f"huge_pages{suffix}",
            huge_pages.sides("1.1B", "Q4_K", n_threads, peer),
            limit,
            is_upper=False,
        )
        for suffix, on in SETS
        for n_threads in (1, 2)
        for peer, title, limit in (("llama_cpp", "as installed", 1.2), ("llama_cpp_huge", "on huge pages", 1.0))
    ),
    *(
        Target(
            f"110M Q4_K, {count(n_threads)}{on}, prompt lookup on a text that repeats itself",
            f"prompt_lookup{suffix}",
            prompt_lookup.sides("random 110M Q4_K", n_threads),
            1.5,
            is_upper=False,
        )
        for suffix, on in SETS
        for n_threads in (1, 2)
    ),
    Target("1.1B, file to first token, against llama.cpp", "load", load.load_sides, 1.0, is_upper=True),
    Target(
        f"1.1B, heap beside weights, KV cache and arena, against {load.LIMIT_MIB} MiB",
        "load",
        load.heap_sides,
        1.0,
        is_upper=True,
    ),
    *(
        Target(
            f"stories-q4_k, {count(n_threads)}{on}, faster than llama-cpp-python's loop",
            f"small_models{suffix}",
            small_models.speed_sides(n_threads),
            1.5,
            is_upper=False,
        )
        for suffix, on in SETS
        for n_threads in (1, 2)
    ),
    Target(
        f"stories-q4_k, a token outside the native calls, against {small_models.LIMIT_US} us",
        "small_models",
        small_models.overhead_sides,
        1.0,
        is_upper=True,
    ),
    Target(
        f"{tokenization.LARGEST}: ready from the open file, against {tokenization.READY_LIMIT_MS} ms",
        "tokenization",
        tokenization.ready_sides,
        1.0,
        is_upper=True,
    ),
    Target(
        f"{tokenization.LARGEST}: 1 MB of English, faster than Hugging Face tokenizers",
        "tokenization",
        tokenization.encode_sides,
        1.0,
        is_upper=False,
    ),
    *(
        Target(
            f"784-128-10, 32 rows{on}, faster than ONNX Runtime",
            f"predict_latency{suffix}",
            latency("784-128-10", *ONNX, batch=32),
            1.5,
            is_upper=False,
        )
        for suffix, on in SETS
    ),
    Target("peak memory, against an empty handler", "memory", peak_memory, 1.3, is_upper=True),
    Target("peak memory after 100,000 predictions, against 10,000", "memory", growth, 1.03, is_upper=True),
)
"""In the order of the table."""


def outcomes(read: Callable[[str], Result | None] = results.read) -> list[tuple[Target, Interval | None]]:
    """Every target with its stored ratio, None where there is none."""
    found = []
    for target in TARGETS:
        result = read(target.result)
        found.append((target, None if result is None else target.measured(result)))
    return found
