"""Teams: their threads start, meet, sleep, end, and give the answers of one thread."""

from __future__ import annotations

import threading
import time
from array import array

import pytest
from fresh_process import EMULATED, python
from team_programs import WIDTH, chain, run

from realizar_lambda import native
from realizar_lambda.errors import CapacityError
from realizar_lambda.native import Team
from realizar_lambda.session import Session


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_a_team_of_any_size_finishes_and_agrees_bit_for_bit(n_threads: int) -> None:
    alone, team = Team(1, native.library()), Team(n_threads, native.library(), n_at_once=n_threads)
    assert run(team, 6) == run(alone, 6)
    team.dismiss()


def test_parked_threads_wake_for_the_next_program() -> None:
    team = Team(3, native.library(), n_at_once=3)
    expected = run(Team(1, native.library()))
    for _ in range(3):
        assert run(team) == expected
        time.sleep(0.05)
    team.dismiss()


def test_dismissal_ends_the_threads_and_may_come_twice() -> None:
    before = threading.active_count()
    team = Team(4, native.library(), n_at_once=4)
    run(team)
    assert threading.active_count() == before + 3
    team.dismiss()
    assert threading.active_count() == before
    team.dismiss()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_dismissed_team_runs_nothing(n_threads: int) -> None:
    team = Team(n_threads, native.library())
    program, _ = chain(n_threads)
    session = Session(program, team)
    team.dismiss()
    with pytest.raises(CapacityError, match="a dismissed team"):
        session.run(1)


def test_two_teams_run_side_by_side() -> None:
    expected = run(Team(1, native.library()), 20)
    found: dict[int, list[bytes]] = {}

    def work(number: int) -> None:
        team = Team(2, native.library(), n_at_once=2)
        found[number] = run(team, 20)
        team.dismiss()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: expected, 1: expected}


SETUP = """
import os, threading, time
from realizar_lambda import native
from realizar_lambda.native import Team
from team_programs import run
expected = run(Team(1, native.library()), 3)
"""


def team_script(code: str) -> str:
    """What a fresh process with a known answer prints: it crashes, hangs or forks alone."""
    return python(SETUP + code)


def test_a_team_larger_than_its_one_cpu_makes_progress() -> None:
    found = team_script(
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "team = Team(8, native.library(), n_at_once=8)\n"
        "print(all(run(team, 3) == expected for _ in range(5)))\n"
    )
    assert found == "True\n"


def test_a_team_whose_cpus_are_taken_away_goes_on_and_gets_over_it() -> None:
    found = team_script(
        "cpus = os.sched_getaffinity(0)\n"
        "team = Team(8, native.library(), n_at_once=8)\n"
        "for chosen in (cpus, {min(cpus)}, cpus):\n"
        "    for task in os.listdir('/proc/self/task'):\n"
        "        os.sched_setaffinity(int(task), chosen)\n"
        "    print(run(team, 40) == run(Team(1, native.library()), 40))\n"
    )
    assert found == "True\n" * 3


@pytest.mark.parametrize(("n_cpus", "n_started"), [(1, 0), (2, 1), (3, 2), (64, 7)])
def test_no_more_threads_start_than_there_are_cpus_for(
    n_cpus: int, n_started: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "usable_cpus", lambda: n_cpus)
    before = threading.active_count()
    team = Team(8, native.library())
    assert threading.active_count() == before + n_started
    assert run(team, 3) == run(Team(1, native.library()), 3)
    team.dismiss()
    assert threading.active_count() == before


@pytest.mark.parametrize("parks", [False, True])
def test_a_team_dropped_without_dismissal_ends_its_threads(parks: bool) -> None:
    team = Team(3, native.library(), n_at_once=3)
    run(team)
    workers = list(team._workers)
    if parks:
        time.sleep(0.05)
    del team
    for worker in workers:
        worker.join(20)
    assert not any(worker.is_alive() for worker in workers)


def test_teams_dropped_without_dismissal_harm_nothing() -> None:
    found = team_script(
        "for number in range(30):\n"
        "    team = Team(3, native.library(), n_at_once=3)\n"
        "    if number % 2:\n"
        "        assert run(team, 3) == expected\n"
        "    del team\n"
        "print(run(Team(2, native.library()), 3) == expected)\n"
    )
    assert found == "True\n"


def test_a_process_may_end_while_its_threads_are_parked_or_spinning() -> None:
    team = "team = Team(4, native.library(), n_at_once=4)\n"
    assert team_script(team + "print(run(team, 3) == expected)\n") == "True\n"
    assert team_script(team + "run(team)\ntime.sleep(0.2)\nprint('end')\n") == "end\n"


@pytest.mark.skipif(EMULATED, reason="no thread starts in a child that an emulated process with threads forked")
def test_a_forked_child_makes_a_team_of_its_own_and_the_parents_goes_on() -> None:
    found = team_script(
        "team = Team(3, native.library(), n_at_once=3)\n"
        "run(team)\n"
        "for _ in range(2):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        right = run(team, 3) == expected and threading.active_count() == 3\n"
        "        team.dismiss()\n"
        "        os._exit(0 if right else 1)\n"
        "    assert run(team, 3) == expected\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "team.dismiss()\n"
    )
    assert found == "0\n0\n"


def test_other_python_threads_run_while_a_program_does() -> None:
    """The library is called without the interpreter's lock: another thread counts on during one long run."""
    program, x = chain(1, n_matmuls=3000)
    session = Session(program, Team(1, native.library()))
    ticks, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            ticks[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    session.view(x, 8)[:] = memoryview(array("f", [0.5] * 8 * WIDTH))
    before = ticks[0]
    session.run(8)
    during = ticks[0] - before
    stop.set()
    counter.join()
    assert during > 100
