"""A program of many barriers, and its runs by a team: for tests of threads, in processes of their own too."""

from __future__ import annotations

from array import array

from realizar_lambda.blocks import BLOCKS
from realizar_lambda.builder import Builder
from realizar_lambda.native import Team
from realizar_lambda.program import Buffer, Program
from realizar_lambda.session import Session
from realizar_lambda.tensor import Tensor

WIDTH = 64


def chain(n_threads: int, n_matmuls: int = 6) -> tuple[Program, Buffer]:
    """A program of many barriers: matmuls and activations one after another."""
    numbers = array("f", ((i * 37 % 101 - 50) / 400.0 for i in range(WIDTH * WIDTH)))
    weight = Tensor("weight", (WIDTH, WIDTH), BLOCKS["F32"], memoryview(numbers).cast("B"), 0)
    builder = Builder(max_tokens=8, n_threads=n_threads)
    x = h = builder.input("x", WIDTH)
    for i in range(n_matmuls):
        h = builder.activation("tanh", builder.matmul(h, weight, name=f"h{i}"))
    return builder.finish(h), x


def run(team: Team, n_runs: int = 1, n_tokens: int = 5) -> list[bytes]:
    """The answers of `n_runs` runs, each on inputs of its own."""
    program, x = chain(team.n_threads)
    session = Session(program, team)
    found = []
    for number in range(n_runs):
        session.view(x, n_tokens)[:] = memoryview(array("f", [(i + number) % 13 - 6 for i in range(n_tokens * WIDTH)]))
        session.run(n_tokens)
        found.append(bytes(session.view(program.output, n_tokens)))
    return found
