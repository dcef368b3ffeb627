"""The real runtime client and our own loop, driven end to end by both emulators with small handlers written here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lambda_emulator.entries import ENTRIES, entry_command
from lambda_emulator.function import EXITED, TIMED_OUT, Function
from lambda_emulator.interface_emulator import InterfaceEmulatorFunction, find_interface_emulator
from lambda_emulator.memory import child_pids, read_memory
from lambda_emulator.phases import ROOT
from lambda_emulator.process import RuntimeProcess
from lambda_emulator.records import MAX_PAYLOAD_BYTES, EmulatorError, EventTooLargeError
from lambda_emulator.runtime_api import TOO_LARGE

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric is not installed (the `lambda` extra)"
)

Emulated = Function | InterfaceEmulatorFunction
Make = Callable[..., Emulated]

needs_interface_emulator = pytest.mark.skipif(
    find_interface_emulator() is None, reason="no Runtime Interface Emulator: install aws-sam-cli"
)
EMULATORS = [
    pytest.param(Function, id="own"),
    pytest.param(InterfaceEmulatorFunction, id="vendor", marks=needs_interface_emulator),
]

HANDLER = """
import os, time

def handler(event, context):
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "raise" in event:
        raise KeyError(event["raise"])
    if "exit" in event:
        os._exit(event["exit"])
    if "n_bytes" in event:
        return "x" * (event["n_bytes"] - 2)
    print("said by the handler")
    return {
        "event": event,
        "id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "arn": context.invoked_function_arn,
        "memory_mb": context.memory_limit_in_mb,
        "environment": {name: os.environ.get(name) for name in ("_HANDLER", "LAMBDA_TASK_ROOT", "EXTRA", "SECRET")},
        "pid": os.getpid(),
    }
"""


@pytest.fixture(params=ENTRIES)
def entry(request: pytest.FixtureRequest) -> str:
    """What runs the handlers."""
    name: str = request.param
    return name


@pytest.fixture(params=EMULATORS)
def make(request: pytest.FixtureRequest, tmp_path: Path, entry: str) -> Make:
    """Makes a function of either emulator and of either runtime from a handler's source."""

    def made(source: str = HANDLER, *, env: Mapping[str, str] | None = None, **options: object) -> Emulated:
        (tmp_path / "app.py").write_text(source)
        options = {"timeout_seconds": 5.0, **options}
        command = entry_command(entry, sys.executable, "app.handler")
        environment = {"PYTHONPATH": str(ROOT), **(env or {})}
        emulated: Emulated = request.param("app.handler", cwd=tmp_path, env=environment, command=command, **options)
        return emulated

    return made


def answer(function: Emulated, event: object) -> dict[str, object]:
    result = function.invoke(event)
    assert not result.is_error, result
    assert isinstance(result.payload, dict)
    return result.payload


def test_an_event_is_answered_and_the_context_is_lambdas(make: Make, tmp_path: Path) -> None:
    with make(env={"EXTRA": "yes"}, memory_mb=512) as function:
        found = answer(function, {"a": [1, None, "ж \U0001f600 \x00"]})
        assert found["event"] == {"a": [1, None, "ж \U0001f600 \x00"]}
        remaining_ms = found["remaining_ms"]
        assert isinstance(remaining_ms, int)
        assert 0 < remaining_ms <= 5000
        assert str(found["arn"]).startswith("arn:aws:lambda:")
        assert found["memory_mb"] == "512"
        assert found["environment"] == {
            "_HANDLER": "app.handler",
            "LAMBDA_TASK_ROOT": str(tmp_path),
            "EXTRA": "yes",
            "SECRET": None,
        }
        assert "said by the handler" in function.logs()


def test_one_process_answers_many_events_and_its_cold_start_is_the_first(make: Make) -> None:
    with make() as function:
        assert function.cold_start is None
        pids = {answer(function, {"i": i})["pid"] for i in range(5)}
        assert pids == {function.pid}
        cold = function.cold_start
        assert cold is not None
        assert cold.init_ms > 0
        assert cold.first_answer_ms > 0
        assert cold.total_ms == pytest.approx(cold.init_ms + cold.first_answer_ms)


def test_an_exception_is_an_error_and_the_next_event_is_answered_by_the_same_process(make: Make) -> None:
    with make() as function:
        pid = answer(function, {})["pid"]
        result = function.invoke({"raise": "missing"})
        assert (result.is_error, result.error_type) == (True, "KeyError")
        assert isinstance(result.payload, dict)
        assert result.payload["errorMessage"] == "'missing'"
        assert answer(function, {})["pid"] == pid


def test_a_handler_over_its_time_is_killed_and_the_next_event_gets_a_fresh_process(make: Make) -> None:
    with make(timeout_seconds=1) as function:
        pid = answer(function, {})["pid"]
        result = function.invoke({"sleep": 30})
        assert (result.is_error, result.error_type) == (True, TIMED_OUT)
        assert b"timed out after 1.00 seconds" in result.raw
        assert result.duration_ms > 900
        assert answer(function, {})["pid"] != pid


def test_a_process_that_dies_is_an_error_and_is_replaced(make: Make) -> None:
    with make() as function:
        pid = answer(function, {})["pid"]
        result = function.invoke({"exit": 3})
        assert (result.is_error, result.error_type) == (True, EXITED)
        assert b"exit status 3" in result.raw
        assert answer(function, {})["pid"] != pid


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("raise OSError('no model')", "OSError"),
        ("import not_there", "Runtime.ImportModuleError"),
        ("def other(): pass", "Runtime.HandlerNotFound"),
        ("def handler(:", "Runtime.UserCodeSyntaxError"),
    ],
)
def test_an_init_error_is_reported_by_name_each_time(make: Make, source: str, error_type: str) -> None:
    with make(source) as function:
        for _ in range(2):
            result = function.invoke({})
            assert (result.is_error, result.error_type) == (True, error_type)
        assert function.cold_start is None


def test_a_process_that_dies_in_init_is_an_exit_error(make: Make) -> None:
    with make("import os; os._exit(7)") as function:
        assert function.invoke({}).error_type == EXITED
        with pytest.raises(EmulatorError, match="no runtime process"):
            function.peak_memory_bytes()


def test_an_answer_may_have_the_limit_and_not_one_byte_more(make: Make) -> None:
    with make() as function:
        assert len(function.invoke({"n_bytes": MAX_PAYLOAD_BYTES}).raw) == MAX_PAYLOAD_BYTES
        assert function.invoke({"n_bytes": MAX_PAYLOAD_BYTES + 1}).error_type == TOO_LARGE
        assert answer(function, {"after": 1})["event"] == {"after": 1}


def test_an_event_may_have_the_limit_and_not_one_byte_more(make: Make) -> None:
    with make("def handler(event, context): return len(event)") as function:
        assert function.invoke("x" * (MAX_PAYLOAD_BYTES - 2)).payload == MAX_PAYLOAD_BYTES - 2
        with pytest.raises(EventTooLargeError, match=f"at most {MAX_PAYLOAD_BYTES}"):
            function.invoke("x" * (MAX_PAYLOAD_BYTES - 1))


def test_memory_is_the_runtimes_own(make: Make) -> None:
    source = "def handler(event, context): return len(bytearray(event['n']) + b'1')"
    with make(source) as function:
        function.invoke({"n": 0})
        before = function.memory()
        function.invoke({"n": 32 << 20})
        after = function.memory()
        assert after.peak - before.peak >= 30 << 20
        assert after.resident - before.resident < 16 << 20
        assert 0 < after.proportional <= after.resident
        assert function.peak_memory_bytes() == after.peak


def test_no_process_outlives_its_function(make: Make) -> None:
    with make() as function:
        answer(function, {})
        pid = function.pid
    with pytest.raises(ProcessLookupError):
        read_memory(pid)


def test_an_init_over_its_limit_is_run_again_inside_the_first_invocation(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os, time\n"
        "is_second = os.path.exists('marker')\n"
        "open('marker', 'w').close()\n"
        "if not is_second: time.sleep(30)\n"
        "def handler(event, context): return context.get_remaining_time_in_millis()\n"
    )
    with Function("app.handler", cwd=tmp_path, init_seconds=0.5, timeout_seconds=5) as function:
        result = function.invoke({})
        assert not result.is_error, result
        assert isinstance(result.payload, int)
        assert result.payload < 5000


def test_an_init_that_never_ends_times_out(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import time; time.sleep(30)")
    with Function("app.handler", cwd=tmp_path, init_seconds=0.2, timeout_seconds=0.2) as function:
        assert function.invoke({}).error_type == TIMED_OUT


def test_a_runtime_loop_of_ones_own_takes_the_clients_place(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(
        "import http.client, os\n"
        "connection = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])\n"
        "while True:\n"
        "    connection.request('GET', '/2018-06-01/runtime/invocation/next')\n"
        "    response = connection.getresponse()\n"
        "    event = response.read()\n"
        "    name = response.headers['Lambda-Runtime-Aws-Request-Id']\n"
        "    headers = {'Lambda-Runtime-Function-Response-Mode': 'streaming'}\n"
        "    body = (piece for piece in (b'one ', event, b' end'))\n"
        "    path = '/2018-06-01/runtime/invocation/' + name + '/response'\n"
        "    connection.request('POST', path, body, headers, encode_chunked=True)\n"
        "    connection.getresponse().read()\n"
    )
    command = [sys.executable, "loop.py"]
    with Function("app.handler", cwd=tmp_path, command=command, timeout_seconds=5) as function:
        for event in (b"two", b"three"):
            result = function.invoke(event)
            assert [chunk.data for chunk in result.chunks] == [b"one ", event, b" end"]
            assert result.is_streamed


@needs_interface_emulator
def test_an_emulator_that_cannot_start_says_what_it_said(tmp_path: Path) -> None:
    broken = tmp_path / "aws-lambda-rie"
    broken.write_text("#!/bin/sh\necho no room; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(EmulatorError, match="no room"):
        InterfaceEmulatorFunction("app.handler", cwd=tmp_path, binary=broken).__enter__()


def test_children_of_a_process_are_found(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = RuntimeProcess(
            ["/bin/sh", "-c", "sleep 30 & wait"], environment={"PATH": "/usr/bin:/bin"}, cwd=tmp_path, log=log
        )
        while not child_pids(process.pid):
            assert not process.wait(0.01)
        process.kill()
        assert process.exit_status == "signal: killed"
        assert child_pids(process.pid) == []


def test_an_interpreter_named_from_this_folder_runs_in_the_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.py").write_text(HANDLER)
    environment = Path(sys.prefix)
    monkeypatch.chdir(environment.parent)
    python = str(Path(environment.name) / "bin" / Path(sys.executable).name)
    with Function("app.handler", cwd=tmp_path, python=python) as function:
        assert answer(function, {"a": 1})["event"] == {"a": 1}
