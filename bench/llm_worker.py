"""One engine with one model, driven line by line: `python -m bench.llm_worker ENGINE MODEL N_THREADS CAPACITY`.

    prefill N         seconds to evaluate N tokens from an empty context
    decode N DEPTH    seconds for N single tokens after DEPTH others
    read              seconds to read every page of the model's file, mapped, with N_THREADS threads

Answers are JSON lines; the first one, {"ready": ...}, comes when the model is loaded. Both engines get the same
token ids, make the logits of the last token, and sample nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

FIRST_ID, N_IDS = 100, 31_000


def token_ids(n: int) -> list[int]:
    """`n` ids of the random models' vocabulary, the same for every engine."""
    return [FIRST_ID + i * 7919 % N_IDS for i in range(n)]


class Engine(Protocol):
    """What is timed; `name` is the instruction set it runs on."""

    name: str

    def clear(self, n_tokens: int) -> None:
        """Forget all but the first `n_tokens` tokens."""

    def evaluate(self, ids: Sequence[int]) -> None:
        """Append tokens and have the last one's logits ready."""


class Realizar:
    """This project, on the ISA that REALIZAR_ISA names."""

    def __init__(self, path: str, n_threads: int, capacity: int, *, huge_pages: bool = False) -> None:
        from realizar_lambda.language_model import LanguageModel

        self.model = LanguageModel.open(path, n_threads=n_threads, cache_element="f16", huge_pages=huge_pages)
        self.context = self.model.context(capacity)
        self.name = self.model.team.library.isa

    def clear(self, n_tokens: int) -> None:
        self.context.truncate(n_tokens)

    def evaluate(self, ids: Sequence[int]) -> None:
        self.context.evaluate(ids)


class LlamaCpp:
    """llama.cpp through llama-cpp-python's bindings of its C functions, which add nothing of their own."""

    def __init__(
        self, path: str, n_threads: int, capacity: int, *, repacks: bool, maps: bool = True, is_flash: bool = True
    ) -> None:
        import llama_cpp as api

        self.api: Any = api
        self.log = api.llama_log_callback(lambda *_: None)
        api.llama_log_set(self.log, None)
        api.llama_backend_init()
        model_parameters = api.llama_model_default_params()
        model_parameters.n_gpu_layers = 0
        model_parameters.use_extra_bufts = repacks
        model_parameters.use_mmap = maps
        self.model = api.llama_model_load_from_file(path.encode(), model_parameters)
        parameters = api.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = capacity, 512, 512
        parameters.n_threads = parameters.n_threads_batch = n_threads
        if not is_flash:
            parameters.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = api.llama_init_from_model(self.model, parameters)
        self.memory = api.llama_get_memory(self.context)
        self.name = api.llama_print_system_info().decode()

    def clear(self, n_tokens: int) -> None:
        self.api.llama_memory_seq_rm(self.memory, 0, n_tokens, -1)

    def evaluate(self, ids: Sequence[int]) -> None:
        for begin in range(0, len(ids), 512):
            part = ids[begin : begin + 512]
            tokens = (self.api.llama_token * len(part))(*part)  # the batch only points at it
            batch = self.api.llama_batch_get_one(tokens, len(part))
            if self.api.llama_decode(self.context, batch) != 0:
                raise RuntimeError("llama_decode failed")
        self.api.llama_get_logits_ith(self.context, -1)


ENGINES: dict[str, Callable[[str, int, int], Engine]] = {
    "realizar": Realizar,
    "llama_cpp": partial(LlamaCpp, repacks=True),
    "llama_cpp_plain": partial(LlamaCpp, repacks=False),
    "llama_cpp_no_flash": partial(LlamaCpp, repacks=True, is_flash=False),
    "realizar_huge": partial(Realizar, huge_pages=True),
    "llama_cpp_huge": partial(LlamaCpp, repacks=True, maps=False),
    "llama_cpp_huge_plain": partial(LlamaCpp, repacks=False, maps=False),
}


def read_pages(path: str, n_threads: int) -> float:
    """Seconds until `n_threads` threads have read a file's pages through a map of it, each its part from end to end.

    NumPy's maximum reads at least four times as fast from the cache as any memory gives.
    """
    import mmap
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        parts = np.array_split(np.frombuffer(pages, np.int64, len(pages) // 8), n_threads)
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(lambda part: part[:: mmap.PAGESIZE // 8].max(), parts))  # maps the pages
            started = time.perf_counter()
            list(pool.map(lambda part: part.max(), parts))
            seconds = time.perf_counter() - started
        del parts
    return seconds


def answer(engine: Engine, command: str, numbers: Sequence[int], state: dict[str, int]) -> float:
    """Seconds that the command took."""
    if command == "prefill":
        engine.clear(0)
        state["depth"] = 0
        ids = token_ids(numbers[0])
        started = time.perf_counter()
        engine.evaluate(ids)
        return time.perf_counter() - started
    n, depth = numbers
    if state["depth"] != depth:
        engine.clear(0)
        if depth:
            engine.evaluate(token_ids(depth))
        state["depth"] = depth
    engine.clear(depth)
    ids = token_ids(n)
    engine.evaluate(ids[:1])
    started = time.perf_counter()
    for token_id in ids:
        engine.evaluate([token_id])
    return time.perf_counter() - started


def main(arguments: Sequence[str]) -> int:
    name, path, n_threads, capacity = arguments
    engine = ENGINES[name](path, int(n_threads), int(capacity))
    state = {"depth": 0}
    print(json.dumps({"ready": engine.name}), flush=True)
    for line in sys.stdin:
        command, *numbers = line.split()
        if command == "read":
            seconds = read_pages(path, int(n_threads))
        else:
            seconds = answer(engine, command, [int(n) for n in numbers], state)
        print(json.dumps({"seconds": seconds}), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
