"""Language models as callers use them: ids, contexts, capacity, threads, processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from oracles import transformer
from tiny_decoders import make, relative_rms, write

import realizar_lambda
from realizar_lambda import native
from realizar_lambda.errors import CapacityError, RequestError, UnsupportedError
from realizar_lambda.language_model import Context, LanguageModel, cache_bytes

ROOT = Path(__file__).resolve().parent.parent
CONTEXT = 64
METADATA, WEIGHTS = make("llama", n_kv_heads=2, context=CONTEXT)
IDS = np.random.default_rng(8).integers(0, 50, CONTEXT).tolist()
EXACT = 2e-6


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("models") / "tiny.gguf", METADATA, WEIGHTS)


@pytest.fixture(scope="module")
def model(path: str) -> LanguageModel:
    return LanguageModel.open(path, n_threads=1)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return transformer.logits(METADATA, WEIGHTS, IDS)


def answers(context: Context, ids: list[int]) -> np.ndarray:
    return np.stack([np.asarray(context.evaluate([token_id])).copy() for token_id in ids])


def in_a_process(code: str, *arguments: str, **variables: str) -> list[str]:
    """The words that a fresh Python prints."""
    environ = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", **variables}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# What a model tells


def test_a_loaded_model_has_its_numbers_and_its_tensors_where_they_lie(path: str) -> None:
    model = realizar_lambda.load(path)
    assert isinstance(model, LanguageModel)
    assert (model.name, model.architecture, model.n_vocab) == ("tiny", "llama", 50)
    assert (model.config.n_layers, model.config.n_heads, model.config.n_kv_heads) == (2, 4, 2)
    assert model.tensors.keys() == WEIGHTS.keys()
    begin = native.address(model.model_file.buffer)
    for name, tensor in model.tensors.items():
        assert native.address(tensor.data) == begin + tensor.offset
        assert tensor.shape == WEIGHTS[name].shape


def test_logits_are_a_buffer_of_rows(model: LanguageModel, expected: np.ndarray) -> None:
    found = model.logits(IDS)
    assert (found.shape, found.format) == ((CONTEXT, 50), "f")
    assert relative_rms(found, expected) < EXACT
    assert relative_rms(model.logits(IDS[:1]), expected[:1]) < EXACT


def test_a_context_tells_its_memory(model: LanguageModel) -> None:
    context = model.context(40)
    assert context.n_cache_bytes == cache_bytes(model.config, 40, "f32") == 2 * 2 * 2 * 8 * 40 * 4
    assert 0 < context.n_arena_bytes < 1 << 20


# Token ids


@pytest.mark.parametrize(
    "kind", [list, tuple, np.array, iter, lambda ids: array("i", ids), lambda ids: array("q", ids)]
)
def test_ids_may_come_in_any_sequence(model: LanguageModel, kind: Callable[[list[int]], object]) -> None:
    assert bytes(model.logits(kind(IDS[:5]))) == bytes(model.logits(IDS[:5]))
    assert bytes(model.logits(range(5))) == bytes(model.logits([0, 1, 2, 3, 4]))


WRONG_IDS = [
    ([50], "token_ids[0] must be an integer in [0, 50), got 50"),
    ([1, 2, -1, 60], "token_ids[2] must be an integer in [0, 50), got -1"),
    ([1, 2**31], "token_ids[1] must be an integer in [0, 50), got 2147483648"),
    ([1, 2**70], "token_ids[1] must be an integer in [0, 50), got 11805916207"),
    ([1, True], "token_ids[1] must be an integer in [0, 50), got True"),
    ([1, 1.0], "token_ids[1] must be an integer in [0, 50), got 1.0"),
    ([1, float("nan")], "token_ids[1] must be an integer in [0, 50), got nan"),
    ([1, None], "token_ids[1] must be an integer in [0, 50), got None"),
    ([1, "2"], "token_ids[1] must be an integer in [0, 50), got '2'"),
    ([[1]], "token_ids[0] must be an integer in [0, 50), got [1]"),
    (np.array([1, 77]), "token_ids[1] must be an integer in [0, 50), got "),
    (np.array([1.0]), "token_ids[0] must be an integer in [0, 50), got "),
    (iter([1, 99]), "token_ids[1] must be an integer in [0, 50), got 99"),
    (iter(["x"]), "token_ids[0] must be an integer in [0, 50), got 'x'"),
    ("text", "token_ids[0] must be an integer in [0, 50), got 't'"),
    ([], "token_ids must be a list of at least one id, got []"),
    (iter([]), "token_ids must be a list of at least one id"),
    (None, "token_ids must be a list of at least one id, got None"),
    (7, "token_ids must be a list of at least one id, got 7"),
]


@pytest.mark.parametrize(("ids", "message"), WRONG_IDS, ids=[row[1] for row in WRONG_IDS])
def test_an_id_that_is_none_is_refused_by_its_place(model: LanguageModel, ids: object, message: str) -> None:
    context = model.context(8)
    context.evaluate(IDS[:3])
    with pytest.raises(RequestError) as refused:
        context.evaluate(ids)
    assert message in str(refused.value)
    assert (refused.value.status, refused.value.field) == (400, "token_ids")
    assert context.ids.tolist() == IDS[:3]


@pytest.mark.parametrize("token_id", [-1, 50, 2**31, 2**70])
def test_a_step_of_an_id_that_is_none_is_refused(model: LanguageModel, token_id: int) -> None:
    context = model.context(8)
    with pytest.raises(RequestError, match=r"token_ids\[0\] must be an integer in \[0, 50\)"):
        context.step(token_id)
    assert context.position == 0


# Contexts


def test_tokens_in_any_portions_give_the_same_answers(model: LanguageModel, expected: np.ndarray) -> None:
    context = model.context(CONTEXT, chunk=7)
    place = 0
    for n in (1, 2, 3, 4, 5, 16, 17, 1, 15):
        found = context.evaluate(IDS[place : place + n])
        place += n
        assert relative_rms(found, expected[place - 1]) < EXACT, place
    assert context.position == place == CONTEXT


def test_a_step_and_an_append_do_what_evaluate_does(model: LanguageModel) -> None:
    one, other = model.context(CONTEXT), model.context(CONTEXT)
    one.append(IDS[:9])
    other.evaluate(IDS[:9])
    for token_id in IDS[9:20]:
        assert bytes(one.step(token_id)) == bytes(other.evaluate([token_id]))
    assert one.ids == other.ids == array("i", IDS[:20])


def test_contexts_that_take_turns_do_not_disturb_each_other(path: str) -> None:
    models = [LanguageModel.open(path, n_threads=n) for n in (1, 1, 2)]
    prompts = [IDS[:12], IDS[::-1][:12], IDS[5:17], IDS[:12]]
    alone = [answers(models[0].context(16), prompt).tobytes() for prompt in prompts]
    contexts = [models[i % 3].context(16) for i in range(4)]
    found: list[list[bytes]] = [[] for _ in prompts]
    for step in range(12):
        for context, prompt, rows in zip(contexts, prompts, found, strict=True):
            rows.append(bytes(context.evaluate(prompt[step : step + 1])))
    assert [b"".join(rows) for rows in found] == alone


@pytest.mark.parametrize("kept", [0, 1, 5, 12])
def test_a_truncated_context_goes_on_as_a_fresh_one(model: LanguageModel, kept: int) -> None:
    context, fresh = model.context(CONTEXT), model.context(CONTEXT)
    context.evaluate(IDS[:12])
    context.truncate(kept)
    assert context.position == kept
    if kept:
        fresh.evaluate(IDS[:12])  # the same tiles, hence the same bits in the cache
        fresh.truncate(kept)
    new = IDS[::-1][:9]
    found = context.evaluate(new)
    assert bytes(found) == bytes(fresh.evaluate(new))
    assert relative_rms(found, transformer.logits(METADATA, WEIGHTS, IDS[:kept] + new)[-1]) < EXACT


@pytest.mark.parametrize("n_tokens", [-1, 4, 1000])
def test_forgetting_more_than_there_is_is_refused(model: LanguageModel, n_tokens: int) -> None:
    context = model.context(8)
    context.evaluate(IDS[:3])
    with pytest.raises(CapacityError, match=f"truncate needs {n_tokens} tokens, there are 3"):
        context.truncate(n_tokens)
    assert context.position == 3


def test_positions_past_the_context_are_refused_and_change_nothing(model: LanguageModel, expected: np.ndarray) -> None:
    context = model.context(10, chunk=4)
    context.evaluate(IDS[:8])
    for call in (context.evaluate, context.append):
        with pytest.raises(CapacityError, match="the context needs 11 tokens, there are 10"):
            call(IDS[:3])
    assert context.position == 8
    context.step(IDS[8])
    assert relative_rms(context.evaluate(IDS[9:10]), expected[9]) < EXACT  # the last position there is
    for call in (lambda: context.step(1), lambda: context.evaluate([1])):
        with pytest.raises(CapacityError, match="the context needs 11 tokens, there are 10"):
            call()
    assert context.position == 10


@pytest.mark.parametrize("value", ["8", 2.5, True])
def test_a_capacity_or_chunk_that_is_no_integer_is_refused(model: LanguageModel, value: object) -> None:
    with pytest.raises(RequestError, match=f"capacity must be an integer, got {value!r}"):
        model.context(value)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=f"chunk must be an integer, got {value!r}"):
        model.context(8, chunk=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [0, -1, CONTEXT + 1, 2**70])
def test_a_context_of_a_length_that_the_model_has_not_is_refused(model: LanguageModel, capacity: int) -> None:
    with pytest.raises(CapacityError, match=f"a context needs {capacity} tokens, there are {CONTEXT}"):
        model.context(capacity)
    with pytest.raises(CapacityError, match=f"needs {CONTEXT + 1} tokens"):
        model.logits([*IDS, 1])


@pytest.mark.parametrize("chunk", [0, -5])
def test_a_chunk_of_nothing_is_refused(model: LanguageModel, chunk: int) -> None:
    with pytest.raises(CapacityError, match="a chunk of a prompt"):
        model.context(8, chunk=chunk)


def test_a_chunk_larger_than_the_context_is_no_larger(model: LanguageModel) -> None:
    assert model.context(8, chunk=1 << 40).n_arena_bytes == model.context(8).n_arena_bytes


@pytest.mark.parametrize("element", ["f64", "q8_0", "F32"])
def test_a_cache_of_an_unknown_element_is_refused(path: str, element: str) -> None:
    with pytest.raises(UnsupportedError, match="supported: f16, f32"):
        LanguageModel.open(path, cache_element=element)


# Threads


@pytest.mark.parametrize("n_threads", [0, -1, native.MAX_THREADS + 1])
def test_a_team_of_a_size_that_there_is_not_is_refused(path: str, n_threads: int) -> None:
    with pytest.raises(UnsupportedError, match=f"a team of {n_threads} threads is not supported; supported: 1 to 64"):
        LanguageModel.open(path, n_threads=n_threads)


OPEN_AND_ANSWER = """
import sys, zlib
from realizar_lambda.language_model import LanguageModel
model = LanguageModel.open(sys.argv[1])
ids = list(map(int, sys.argv[2].split(",")))
print(model.team.n_threads, model.team.library.isa, zlib.crc32(model.logits(ids)))
"""


def test_the_environment_sets_the_number_of_threads(path: str) -> None:
    ids = ",".join(map(str, IDS[:20]))
    answers = {}
    for n in ("1", "3", "5"):
        n_threads, _, answers[n] = in_a_process(OPEN_AND_ANSWER, path, ids, REALIZAR_THREADS=n)
        assert n_threads == n
    assert len(set(answers.values())) == 1


def test_the_environment_sets_the_library(path: str, model: LanguageModel) -> None:
    flags = native.cpu_flags()
    for isa, needed in native.ISAS[os.uname().machine]:
        if flags.issuperset(needed.split()):
            assert in_a_process(OPEN_AND_ANSWER, path, "1,2,3", REALIZAR_ISA=isa)[1] == isa


ON_ONE_CPU = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from realizar_lambda.language_model import LanguageModel
ids = list(map(int, sys.argv[2].split(",")))
one, many = (LanguageModel.open(sys.argv[1], n_threads=n) for n in (1, 8))
print(bytes(one.logits(ids)) == bytes(many.logits(ids)), len(os.sched_getaffinity(0)))
"""


def test_eight_threads_on_one_cpu_come_to_an_end(path: str) -> None:
    assert in_a_process(ON_ONE_CPU, path, ",".join(map(str, IDS[:12]))) == ["True", "1"]


def test_models_share_a_team_of_their_size(path: str) -> None:
    models = [LanguageModel.open(path, n_threads=n) for n in (2, 2, 3)]
    assert models[0].team is models[1].team is not models[2].team
    assert len({bytes(model.logits(IDS[:9])) for model in models}) == 1


def together(n_threads: int, work: Callable[[int], object]) -> list[object]:
    """What `work(i)` returns, all at once in threads of Python."""
    found: list[object] = [None] * n_threads
    start = threading.Barrier(n_threads)

    def run(i: int) -> None:
        start.wait()
        try:
            found[i] = work(i)
        except Exception as error:  # given to the caller below
            found[i] = error

    workers = [threading.Thread(target=run, args=(i,)) for i in range(n_threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for value in found:
        if isinstance(value, Exception):
            raise value
    return found


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_threads_of_python_may_use_a_model_at_once(path: str, n_threads: int) -> None:
    model = LanguageModel.open(path, n_threads=n_threads)
    prompts = [IDS[i : i + 10 + i] for i in range(5)]
    alone = [(bytes(model.logits(prompt)), answers(model.context(20), prompt).tobytes()) for prompt in prompts]

    def work(i: int) -> bool:
        for _ in range(3):
            context = model.context(20)
            if (bytes(model.logits(prompts[i])), answers(context, prompts[i]).tobytes()) != alone[i]:
                return False
        return True

    assert together(5, work) == [True] * 5


def test_threads_of_python_that_share_a_context_never_overfill_it(path: str) -> None:
    context = LanguageModel.open(path, n_threads=2).context(48)

    def work(i: int) -> int:
        n_done = 0
        for _ in range(10):
            try:
                context.evaluate([i, i + 1]) if i % 2 else context.step(i)
                n_done += 1 + i % 2
            except CapacityError:
                break
        return n_done

    assert sum(together(6, work)) == context.position == len(context.ids)
    assert 47 <= context.position <= 48


AFTER_A_FORK = """
import os, sys
from realizar_lambda.language_model import LanguageModel
model = LanguageModel.open(sys.argv[1], n_threads=int(sys.argv[2]))
context = model.context(32)
context.evaluate([1, 2, 3])
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.write(write, bytes(context.evaluate([4])) + bytes(context.evaluate([5])))
    os._exit(0)
os.waitpid(child, 0)
n = model.n_vocab * 4
told = os.read(read, 1 << 16)
fourth = bytes(context.evaluate([4]))
fifth = bytes(context.evaluate([5]))
print(told == fourth + fifth, context.position)
"""


def test_a_forked_child_goes_on_from_a_context_without_touching_its_parents(path: str) -> None:
    """By one thread under an emulator: no thread starts in a child that an emulated process with threads forked."""
    n_threads = 1 if os.environ.get("REALIZAR_TEST_EMULATED") else 2
    assert in_a_process(AFTER_A_FORK, path, str(n_threads)) == ["True", "5"]
