from __future__ import annotations

import ctypes
from array import array
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.program import Machine
from program_parts import Parts, small, tensor

from realizar_lambda import native
from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.errors import CapacityError
from realizar_lambda.program import ACTIVATIONS, MAX_WIDTH
from realizar_lambda.session import Session
from realizar_lambda.tensor import Tensor


@pytest.fixture
def session() -> Session:
    return Session(small()[0], native.Team(1, native.library()))


@pytest.mark.parametrize("n_rows", [-1, 5, 1 << 40])
def test_a_view_of_more_rows_than_there_are_is_refused(session: Session, n_rows: int) -> None:
    with pytest.raises(CapacityError, match=r"buffer 'x' needs -?\d+ rows, there are 4"):
        session.view(session.program.buffers[2], n_rows)


def test_views_are_as_long_as_their_rows_writable_and_apart() -> None:
    program, x = small()
    session = Session(program, native.Team(1, native.library()))
    assert [len(session.view(x, n)) for n in range(5)] == [0, 8, 16, 24, 32]
    session.view(x, 4)[:] = memoryview(array("f", [7.0] * 32))
    assert session.view(program.output, 4).tolist() == [0.0] * 12
    assert {view.format for view in (session.view(x, 1), session.view(program.output, 1))} == {"f"}


def test_a_view_has_the_format_of_its_elements() -> None:
    p = Parts()
    session = Session(p.b.finish(p.x), native.Team(1, native.library()), caches={
        "keys": bytearray(160), "values": bytearray(160), "other": bytearray(320)
    })  # fmt: skip
    assert [session.view(buffer, 2).format for buffer in (p.x, p.bytes, p.ids)] == ["f", "B", "i"]
    with pytest.raises(CapacityError, match="buffer 'keys'"):
        session.view(p.keys, 1)


@pytest.mark.parametrize("n_tokens", [0, -1, 5, 1 << 40])
def test_a_run_of_more_tokens_than_the_program_has_rows_is_refused(session: Session, n_tokens: int) -> None:
    with pytest.raises(CapacityError, match="there are 4"):
        session.run(n_tokens)


def test_a_run_at_a_negative_position_is_refused(session: Session) -> None:
    with pytest.raises(CapacityError, match="position -1"):
        session.run(1, -1)


def test_a_run_may_not_go_beyond_its_cache_nor_its_positions() -> None:
    for capacity, n_positions in ((10, 99), (99, 10)):
        builder = Builder(max_tokens=4)
        x = builder.input("x", 8)
        keys = builder.cache("keys", n_heads=2, head_width=4, capacity=capacity, element="f32")
        builder.add_positions(x, tensor((n_positions, 8)), 4)
        builder.store(keys, x)
        program = builder.finish(x)
        session = Session(program, native.Team(1, native.library()), caches={"keys": bytearray(keys.n_bytes)})
        session.run(4, 6)
        for n_tokens, position in ((1, 10), (4, 7), (1, 1 << 40)):
            with pytest.raises(CapacityError, match=rf"needs {position + n_tokens} tokens, there are 10"):
                session.run(n_tokens, position)


def test_a_team_of_another_size_than_the_programs_is_refused() -> None:
    program, _ = small(n_threads=2)
    with pytest.raises(CapacityError, match="needs 1 threads, there are 2"):
        Session(program, native.Team(1, native.library()))


@pytest.mark.parametrize(
    "caches", [{}, {"keys": b""}, {"keys": bytes(159)}, {"keys": bytes(161)}, {"other": bytes(160)}]
)
def test_a_cache_of_another_size_than_the_programs_is_refused(caches: dict[str, bytes]) -> None:
    builder = Builder(max_tokens=4)
    x = builder.input("x", 8)
    builder.store(builder.cache("keys", n_heads=2, head_width=4, capacity=10, element="f16"), x)
    with pytest.raises(CapacityError, match="cache 'keys' needs 160 bytes"):
        Session(builder.finish(x), native.Team(1, native.library()), caches=caches)


def test_an_arena_beyond_all_memory_is_refused_before_it_is_made() -> None:
    builder = Builder(max_tokens=1 << 20)
    for i in range(2):
        builder.input(f"h{i}", MAX_WIDTH)
    with pytest.raises(CapacityError, match="the program's arena"):
        Session(builder.finish(builder.input("x", 1)), native.Team(1, native.library()))


def test_sessions_of_one_program_share_nothing_they_write() -> None:
    program, x = small()
    team = native.Team(1, native.library())
    one, two = Session(program, team), Session(program, team)
    one.view(x, 4)[:] = memoryview(array("f", [7.0] * 32))
    assert two.view(x, 4).tolist() == [0.0] * 32


def test_buffers_of_a_session_begin_cache_lines_and_do_not_overlap() -> None:
    p = Parts()
    program = p.b.finish(p.x)
    caches = {"keys": bytearray(160), "values": bytearray(160), "other": bytearray(320)}
    session = Session(program, native.Team(1, native.library()), caches=caches)
    spans = sorted(
        (native.address(session.view(buffer, 1)), buffer.n_bytes)
        for buffer in (p.x, p.y, p.wide, p.one, p.bytes, p.ids, p.short, p.angles)
    )
    assert all(start % 64 == 0 for start, _ in spans)
    assert all(start + size <= after for (start, size), (after, _) in pairwise(spans))


def test_a_section_runs_alone_or_with_those_after_it() -> None:
    builder = Builder(max_tokens=4)
    x = builder.input("x", 2)
    builder.multiply(x, 2.0)
    builder.section("middle", max_tokens=3)
    builder.multiply(x, 3.0)
    builder.section("end", max_tokens=1)
    builder.multiply(x, 5.0)
    session = Session(builder.finish(x), native.Team(1, native.library()))
    runs = [("main", None, 2.0), ("middle", None, 3.0), ("end", None, 5.0), ("main", "middle", 6.0),
            ("main", "end", 30.0), ("middle", "end", 15.0)]  # fmt: skip
    for first, last, factor in runs:
        session.view(x, 4)[:] = memoryview(array("f", [1.0] * 8))
        session.run(1, first=first, last=last)
        assert session.view(x, 2).tolist() == [factor, factor, 1.0, 1.0]
    for first, last, n in (("middle", None, 4), ("end", None, 2), ("main", "middle", 4), ("main", "end", 2)):
        with pytest.raises(CapacityError):
            session.run(n, first=first, last=last)


def test_a_session_keeps_its_weights_alive() -> None:
    builder = Builder(max_tokens=1)
    x = builder.input("x", 4)
    numbers = array("f", range(8))
    weight = Tensor("w", (2, 4), BLOCKS["F32"], memoryview(numbers).cast("B"), 0)
    session = Session(builder.finish(builder.matmul(x, weight)), native.Team(1, native.library()))
    del weight, builder, numbers
    ctypes.pythonapi.PyGC_Collect()
    session.view(x, 1)[:] = memoryview(array("f", [1.0] * 4))
    session.run(1)
    assert session.view(session.program.output, 1).tolist() == [6.0, 22.0]


LAYERS = st.lists(st.tuples(st.integers(1, 70), st.sampled_from(ACTIVATIONS), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 70), LAYERS, st.integers(1, 20), st.integers(1, 3), st.integers(0, 1 << 30))
def test_any_stack_of_layers_equals_the_oracle(
    n_inputs: int, layers: list[tuple[int, str, bool]], n_tokens: int, n_threads: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    builder = Builder(max_tokens=n_tokens, n_threads=n_threads)
    x = h = builder.input("x", n_inputs)
    for i, (width, activation, has_bias) in enumerate(layers):
        numbers = (random.normal(size=(width, h.width)) / h.width**0.5).astype("<f4")
        weight = Tensor(f"w{i}", numbers.shape, BLOCKS["F32"], memoryview(numbers.tobytes()), 0)
        bias = builder.constant(random.normal(size=width).tolist()) if has_bias else None
        h = builder.activation(activation, builder.matmul(h, weight, bias=bias))
    program = builder.finish(h)
    rows = random.normal(size=(n_tokens, n_inputs)).astype("f4")
    machine = Machine(program)
    machine.write(x, rows)
    team = native.Team(n_threads, native.library())
    session = Session(program, team)
    session.view(x, n_tokens)[:] = memoryview(rows).cast("B").cast("f")
    session.run(n_tokens)
    found = np.asarray(session.view(h, n_tokens)).reshape(n_tokens, -1)
    team.dismiss()
    np.testing.assert_allclose(found, machine.run(n_tokens), rtol=1e-5, atol=3e-6)


def test_a_prepared_call_does_what_a_run_does() -> None:
    program, x = small()
    session = Session(program, native.Team(1, native.library()))
    for holds_gil in (False, True):
        call, argument = session.prepared_call(2, holds_gil=holds_gil)
        for value in (1.0, -2.0):
            numbers = memoryview(array("f", [value] * 16))
            session.view(x, 2)[:] = numbers
            session.run(2)
            expected = session.view(program.output, 2).tolist()
            session.view(program.output, 2)[:] = memoryview(array("f", [99.0] * 6))
            call(argument)
            assert session.view(program.output, 2).tolist() == expected


@pytest.mark.parametrize(("n_threads", "n_tokens", "holds_gil"), [(1, 0, False), (1, 5, True), (2, 1, True)])
def test_a_prepared_call_of_what_no_run_may_do_is_refused(n_threads: int, n_tokens: int, holds_gil: bool) -> None:
    """A team that waits for its threads must not keep the interpreter's lock from them."""
    program, _ = small(n_threads)
    team = native.Team(n_threads, native.library())
    with pytest.raises(CapacityError, match="a prepared call"):
        Session(program, team).prepared_call(n_tokens, holds_gil=holds_gil)
    team.dismiss()
