"""The loop that walks a program, and the team of threads that walks it together. It knows no operation.

A team is `ops.TEAM_WORDS` int64 words of shared memory:

    word 0   generation: raised by one for each program, a futex the parked workers wait on (its low half)
    word 1   1 once the team is being dismissed
    word 2   how many threads walk together
    word 3   table address      word 4  n_ops       word 5  n_tokens      word 6  position
    word 8   threads that reached the current barrier
    word 16  barriers passed: a futex too (its low half)
    word 24  workers parked on the generation
    word 32  threads asleep in a barrier
    word 40  doubt that spinning helps: 0 to MOST_DOUBT

Thread 0 is the caller's. A worker spins for a while on the generation, then sleeps in the kernel. Between two
operations the threads meet at a barrier: the last to come resets the count, raises the number of barriers passed and
wakes who sleeps; the others spin on that number, then yield their CPU, then sleep.

Who spins may hold the very CPU that the late thread needs: a team can get fewer CPUs than it has threads, because
others run there, or its container has used up its share. So a wait that outlasts the spinning raises a doubt, and
one that spinning sees through lowers it. At MOST_DOUBT the threads sleep at once, but at one barrier in PROBE.
"""

from __future__ import annotations

from numba import types

from realizar_lambda import ops
from realizar_lambda.kernels.compiler import execute, export, kernel
from realizar_lambda.kernels.memory import (
    address_of,
    at,
    atomic_add,
    atomic_load,
    atomic_store,
    cast,
    futex,
    i64p,
    pause,
    sched_yield,
    smaller,
    u8p,
)
from realizar_lambda.kernels.vectors import LANES, TARGET

I64 = types.int64
WORDS = ops.RECORD_WORDS
ABI = ops.abi()
LAST_WORD = WORDS - 1
FUTEX = 202 if TARGET.triple.startswith("x86_64") else 98
FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE = 128, 129
SPINS_IN_BARRIER = 2000  # about 10 us at 4 ns a pause: longer than an even share's jitter
SPINS_BEFORE_PARKING = 20000
YIELDS_IN_BARRIER = 100  # after the spins
MOST_DOUBT = 16
LEFT_DOUBT = 12  # at most, once spinning saw a wait through
PROBE = 31  # a prime: not in step with a program's layers


@kernel(types.void, i64p, I64)
def meet(team, n_threads):
    """Wait until every thread of the team has come here."""
    passed = atomic_load(at(team, 128))
    if atomic_add(at(team, 64), 1) == n_threads - 1:
        atomic_store(at(team, 64), 0)
        atomic_store(at(team, 128), passed + 1)
        if atomic_load(at(team, 256)) > 0:
            futex(FUTEX, address_of(at(team, 128)), FUTEX_WAKE_PRIVATE, n_threads)
        return
    doubt = team[40]  # threads may overwrite each other's: it only steers
    if doubt < MOST_DOUBT or passed % PROBE == 0:
        for _ in range(SPINS_IN_BARRIER):
            if atomic_load(at(team, 128)) != passed:
                if doubt > 0:
                    team[40] = smaller(doubt - 1, LEFT_DOUBT)
                return
            pause()
        team[40] = smaller(doubt + 1, MOST_DOUBT)
        for _ in range(YIELDS_IN_BARRIER):
            if atomic_load(at(team, 128)) != passed:
                return
            sched_yield()
    atomic_add(at(team, 256), 1)
    while atomic_load(at(team, 128)) == passed:
        futex(FUTEX, address_of(at(team, 128)), FUTEX_WAIT_PRIVATE, passed)
    atomic_add(at(team, 256), -1)


@kernel(types.void, i64p, I64, I64, I64, I64, I64, i64p)
def walk(table, n_ops, n_tokens, position, thread, n_threads, team):
    """Run every operation of a program as one thread of its team."""
    for i in range(n_ops):
        record = at(table, i * WORDS * 8)
        execute(record, n_tokens, position, thread, n_threads)
        if n_threads > 1 and record[LAST_WORD] != 0:
            meet(team, n_threads)


@kernel(types.void, u8p, I64, I64, I64, u8p)
def run(table, n_ops, n_tokens, position, team):
    """Run a program with the whole team; returns when every thread is done."""
    words = cast(i64p, team)
    n_threads = words[2]
    if n_threads > 1:
        words[3] = address_of(table)
        words[4] = n_ops
        words[5] = n_tokens
        words[6] = position
        atomic_add(words, 1)
        if atomic_load(at(words, 192)) > 0:
            futex(FUTEX, address_of(words), FUTEX_WAKE_PRIVATE, n_threads)
    if words[1] != 0:
        return
    walk(cast(i64p, table), n_ops, n_tokens, position, 0, n_threads, words)
    if n_threads > 1:
        meet(words, n_threads)


@export
def realizar_run(table, n_ops, n_tokens, position, team):
    """`run`, with its arguments as C passes them."""
    run(table, n_ops, n_tokens, position, team)


@export
def realizar_call(arguments):
    """`run`, with its arguments in memory: one argument is the least that a call from Python can cost."""
    words = cast(i64p, arguments)
    run(cast(u8p, words[0]), words[1], words[2], words[3], cast(u8p, words[4]))


@export
def realizar_worker(team, thread):
    """Serve as thread `thread` of a team until it is dismissed: a Python thread's whole life is this call."""
    words = cast(i64p, team)
    n_threads = words[2]
    seen = I64(0)
    while True:
        spins = 0
        while atomic_load(words) == seen:
            spins += 1
            if spins < SPINS_BEFORE_PARKING and words[40] < MOST_DOUBT:
                pause()
            else:
                atomic_add(at(words, 192), 1)
                futex(FUTEX, address_of(words), FUTEX_WAIT_PRIVATE, seen)
                atomic_add(at(words, 192), -1)
        seen += 1
        if words[1] != 0:
            return
        walk(cast(i64p, words[3]), words[4], words[5], words[6], thread, n_threads, words)
        meet(words, n_threads)


@export
def realizar_lanes():
    """How many f32 lanes this library's vectors have: layouts that interleave tokens depend on it."""
    return LANES


@export
def realizar_abi():
    """`ops.abi()` of the tables that this library was built with."""
    return ABI
