"""The loop end to end: what it says to the Runtime API, and what a handler may notice of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serving.runtime.scripted_server import ScriptedServer, answer

from lambda_emulator.entries import ENTRIES, entry_command
from lambda_emulator.function import EXITED, Function
from lambda_emulator.phases import ROOT

HANDLER = """
import os, sys
{setup}
def handler(event, context):
    {body}
"""


@pytest.fixture
def make(tmp_path):
    """Makes a function over the loop from a handler's body."""

    def made(body, setup="", *, env=None, handler="app.handler", **options):
        (tmp_path / "app.py").write_text(HANDLER.format(body=body.replace("\n", "\n    "), setup=setup))
        command = entry_command("loop", sys.executable, handler)
        environment = {"PYTHONPATH": str(ROOT), **(env or {})}
        return Function(handler, cwd=tmp_path, env=environment, command=command, timeout_seconds=5.0, **options)

    return made


def test_the_image_starts_the_loop_so():
    entrypoint = re.search(r"^ENTRYPOINT (\[.*\])$", (ROOT / "Dockerfile.lambda").read_text(), re.MULTILINE)
    assert json.loads(entrypoint[1]) == ["python3", *ENTRIES["loop"]]


def test_the_module_starts_the_loop_too(tmp_path):
    (tmp_path / "app.py").write_text("def handler(event, context): return event")
    command = [sys.executable, "-m", "realizar_lambda.serving.runtime"]
    with Function("app.handler", cwd=tmp_path, command=command, env={"PYTHONPATH": str(ROOT)}) as function:
        assert function.invoke({"named by": "_HANDLER"}).payload == {"named by": "_HANDLER"}


def test_nothing_of_the_usual_weight_is_imported(make):
    with make("return sorted(sys.modules)") as function:
        loaded = set(function.invoke({}).payload)
    heavy = "re enum json logging socket http traceback threading decimal collections functools site typing inspect"
    assert loaded & set(heavy.split()) == set()


def test_the_context_has_everything_that_the_headers_carry(make):
    body = """\
client = context.client_context
return {
    "names": [context.function_name, context.function_version, context.log_group_name, context.log_stream_name],
    "tenant": context.tenant_id,
    "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
    "custom": client.custom, "env": client.env,
    "title": client.client.app_title, "code": client.client.app_version_code,
    "trace": os.environ.get("_X_AMZN_TRACE_ID"), "w3c": context.w3c(),
}"""
    sent = {
        "custom": {"a": 1},
        "client": {"app_title": "title"},
        "w3c": {"traceparent": "00-1", "tracestate": 5, "other": "x"},
    }
    identity = json.dumps({"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"})
    headers = {"Lambda-Runtime-Cognito-Identity": identity, "Lambda-Runtime-Aws-Tenant-Id": "tenant"}
    with make(body) as function:
        found = function.invoke({}, client_context=json.dumps(sent), headers=headers).payload
        bare = function.invoke({"a": 1}, headers={"Lambda-Runtime-Trace-Id": "Root=1-2"})
    assert bare.error_type == "AttributeError"  # there is no client context
    assert found.pop("trace").startswith("Root=1-")
    assert found == {
        "names": ["function", "$LATEST", "/aws/lambda/function", "$LATEST"],
        "tenant": "tenant",
        "identity": ["id", "pool"],
        "custom": {"a": 1},
        "env": None,
        "title": "title",
        "code": None,
        "w3c": {"traceparent": "00-1"},
    }


@pytest.mark.parametrize(
    ("headers", "client_context", "fault"),
    [
        ({"Lambda-Runtime-Deadline-Ms": "soon"}, None, "milliseconds since 1970, got 'soon'"),
        ({"Lambda-Runtime-Deadline-Ms": ""}, None, "milliseconds since 1970, got ''"),
        ({"Lambda-Runtime-Cognito-Identity": "[]"}, None, "Cognito Identity JSON: it must be an object"),
        ({}, "{not json", "Unable to parse Client Context JSON"),
        ({}, "[" * 100_000, "Unable to parse Client Context JSON"),
    ],
)
def test_a_header_that_cannot_be_read_fails_its_invocation_and_no_other(make, headers, client_context, fault):
    with make("return 1") as function:
        result = function.invoke({}, client_context=client_context, headers=headers)
        assert result.error_type == "Runtime.LambdaContextUnmarshalError"
        assert fault in result.payload["errorMessage"]
        assert function.invoke({}).payload == 1


def test_an_error_has_the_stack_from_the_handler_on(make):
    with make("return int(event)", setup="class Odd(Exception): pass\n") as function:
        result = function.invoke("x\nу\u2028")
        assert result.error_type == "ValueError"
        assert set(result.payload) == {"errorMessage", "errorType", "requestId", "stackTrace"}
        assert result.payload["requestId"] == result.request_id
        assert [re.search(r'app.py", line \d+, in (\w+)', line)[1] for line in result.payload["stackTrace"]] == [
            "handler"
        ]
        said = [line for line in function.logs().splitlines() if "[ERROR] ValueError" in line]
        assert len(said) == 1


def test_an_error_is_one_line_of_json_where_logs_are(make):
    with make("raise OSError('gone')", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}) as function:
        function.invoke({})
        said = json.loads(function.logs().strip())
    assert (said["level"], said["errorType"], said["errorMessage"]) == ("ERROR", "OSError", "gone")
    assert "app.py" in said["stackTrace"][0]


def test_the_name_of_an_exception_is_no_way_into_the_headers(make):
    with make("raise type('Odd\\r\\nX-Header: 1', (Exception,), {})('x')") as function:
        assert function.invoke({}).error_type == "Odd\r\nX-Header: 1"  # from the body, not from a header
        assert function.invoke({}).is_error


@pytest.mark.parametrize(
    ("event", "error_type"),
    [(b"{", "Runtime.UnmarshalError"), (b"", "Runtime.UnmarshalError"), (b"[" * 200_000, "Runtime.UnmarshalError")],
)
def test_an_event_that_is_no_json_is_an_error(make, event, error_type):
    with make("return 1") as function:
        assert function.invoke(event).error_type == error_type
        assert function.invoke({}).payload == 1


def test_an_event_of_another_type_comes_as_bytes(make):
    with make("return [type(event).__name__, len(event)]") as function:
        assert function.invoke(b"\xff\0", headers={"Content-Type": "image/png"}).payload == ["bytes", 2]


def test_answers_are_json_bytes_and_decimals(make):
    setup = "from decimal import Decimal\nfrom datetime import date"
    with make(
        "return {'d': Decimal('2'), 'f': Decimal('0.5'), 'b': b'\\x00raw', 'o': date.max}[event]", setup
    ) as function:
        assert (function.invoke("d").payload, function.invoke("f").payload) == (2, 0.5)
        assert (function.invoke("b").raw, function.invoke("b").content_type) == (b"\0raw", "application/unknown")
        result = function.invoke("o")
        assert result.error_type == "Runtime.MarshalError"
        assert result.payload["errorMessage"] == (
            "Unable to marshal response: Object of type date is not JSON serializable"
        )


@pytest.mark.parametrize(
    ("handler", "error_type"),
    [
        ("app", "Runtime.MalformedHandlerName"),
        ("app.missing", "Runtime.HandlerNotFound"),
        ("sys.handler", "Runtime.BuiltInModuleConflict"),
        ("absent.handler", "Runtime.ImportModuleError"),
    ],
)
def test_a_handler_that_is_not_there_is_an_init_error(make, handler, error_type):
    with make("return 1", handler=handler) as function:
        result = function.invoke({})
        assert (result.is_error, result.error_type) == (True, error_type)
        assert set(result.payload) == {"errorMessage", "errorType", "requestId", "stackTrace"}


def test_a_handler_may_be_named_by_a_path(make, tmp_path):
    (tmp_path / "folder").mkdir()
    with make("return 1", handler="folder/app.handler") as function:
        (tmp_path / "app.py").rename(tmp_path / "folder" / "app.py")
        assert function.invoke({}).payload == 1


def test_a_handler_that_exits_ends_the_process(make):
    with make("sys.exit(3)") as function:
        assert function.invoke({}).error_type == EXITED


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, r"^\[WARNING\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t%s\tcareful 1$"),
        ({"AWS_LAMBDA_LOG_LEVEL": "INFO"}, r"^\[INFO\]\t.*\t%s\tby the way$"),
        ({"AWS_LAMBDA_LOG_FORMAT": "JSON"}, r'^{"timestamp":".*Z","level":"WARNING","message":"careful 1",.*"%s".*}$'),
    ],
)
def test_a_handler_that_logs_is_heard(make, env, expected):
    body = "logging.getLogger('x').warning('careful %d', 1); logging.info('by the way'); print('end'); return 1"
    with make(body, setup="import logging", env=env) as function:
        result = function.invoke({})
        assert re.search(expected % result.request_id, function.logs(), re.MULTILINE), function.logs()
        assert ("by the way" in function.logs()) is ("AWS_LAMBDA_LOG_LEVEL" in env)


def test_what_was_printed_is_out_before_the_answer(make):
    with make("sys.stdout.write('no end of line'); return 1") as function:
        function.invoke({})
        assert function.logs() == "no end of line"


def test_installed_packages_are_found_when_they_are_asked_for(make):
    with make("""
before = "site" in sys.modules
import pytest
return [before, "site" in sys.modules, pytest.__version__]""") as function:
        assert function.invoke({}).payload == [False, True, pytest.__version__]


def test_a_package_that_is_nowhere_is_an_import_error(make):
    with make("import absent_package") as function:
        assert function.invoke({}).error_type == "ModuleNotFoundError"
        assert function.invoke({}).error_type == "ModuleNotFoundError"


def test_several_slots_are_left_to_the_vendors_client(make):
    pytest.importorskip("awslambdaric")
    with make("return 'awslambdaric.bootstrap' in sys.modules", env={"AWS_LAMBDA_MAX_CONCURRENCY": "1"}) as function:
        assert function.invoke({}).payload is True


def run_against(server, tmp_path, **env):
    """The loop as a process, until it ends or is told to."""
    (tmp_path / "app.py").write_text("def handler(event, context): return event")
    return subprocess.Popen(
        entry_command("loop", sys.executable, "app.handler"), cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": server.address, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


def event_answer(request_id="id-1", **headers):
    deadline = str(int(time.time() * 1000) + 5000)
    return answer(b'"event"', Lambda_Runtime_Aws_Request_Id=request_id, Lambda_Runtime_Deadline_Ms=deadline, **headers)


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ([answer(b"no", "500 Internal Server Error")], "status 500"),
        ([answer(b"no", "403 Forbidden")], "status 403"),
        ([event_answer("../../init/error?x=")], "request id '../../init/error"),
        ([event_answer("")], "request id ''"),
        ([event_answer("a b")], "request id 'a b'"),
        ([event_answer(), answer(b"over", "500 Internal Server Error")], "cannot go on: status 500"),
    ],
)
def test_a_runtime_api_that_fails_ends_the_process(script, fault, tmp_path):
    with ScriptedServer(script) as server:
        process = run_against(server, tmp_path)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert fault in said


def test_a_runtime_api_that_is_gone_ends_the_process_in_a_line(tmp_path):
    class Gone(ScriptedServer):
        """One event, and then nobody listens: what a local emulator looks like when it ends."""

        def _serve(self):
            super()._serve()
            self._listener.close()

    with Gone([event_answer(), answer(b"", "202 Accepted")]) as server:
        process = run_against(server, tmp_path)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert said.startswith("the Runtime API is gone: ")
    assert said.count("\n") == 1


def test_an_answer_that_is_refused_is_logged_and_the_next_event_is_asked_for(tmp_path):
    refused = answer(b"too large", "413 Payload Too Large")
    with ScriptedServer([event_answer(), refused, answer(b"", "500 Over")]) as server:
        said, _ = run_against(server, tmp_path).communicate(timeout=20)
        paths = [request.split()[1].decode() for request in server.requests]
    assert "status 413" in said
    assert [path.rpartition("/")[2] for path in paths] == ["next", "response", "next"]


def test_a_process_that_is_told_to_end_ends(tmp_path):
    is_asked = threading.Event()

    class Waiting(ScriptedServer):
        def _serve(self):
            connection, _ = self._listener.accept()
            with connection:
                connection.recv(65536)
                is_asked.set()
                connection.recv(65536)

    with Waiting() as server:
        process = run_against(server, tmp_path)
        assert is_asked.wait(20)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_hooks_run_on_both_sides_of_a_snapshot(tmp_path):
    pytest.importorskip("snapshot_restore_py")
    with ScriptedServer([answer(), event_answer(), answer(b"", "202 Accepted"), answer(b"", "500 Over")]) as server:
        process = run_against(server, tmp_path, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        (tmp_path / "app.py").write_text(
            "from snapshot_restore_py import register_before_snapshot, register_after_restore\n"
            "seen = []\n"
            "register_before_snapshot(seen.append, 'second')\n"
            "register_before_snapshot(seen.append, 'first')\n"
            "register_after_restore(seen.append, 'after')\n"
            "def handler(event, context): return seen\n"
        )
        process.communicate(timeout=20)
    paths = [request.split()[1].decode().removeprefix("/2018-06-01/runtime") for request in server.requests]
    assert paths[:3] == ["/restore/next", "/invocation/next", "/invocation/id-1/response"]
    assert server.requests[2].endswith(b'["first","second","after"]')


@pytest.mark.parametrize(
    ("hook", "path", "code"),
    [("register_before_snapshot", "/init/error", 64), ("register_after_restore", "/restore/error", 65)],
)
def test_a_hook_that_fails_is_reported_and_ends_the_process(tmp_path, hook, path, code):
    pytest.importorskip("snapshot_restore_py")
    with ScriptedServer([answer(), answer(b"", "202 Accepted")]) as server:
        process = run_against(server, tmp_path, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        (tmp_path / "app.py").write_text(
            f"from snapshot_restore_py import {hook}\n{hook}(int, 'x')\ndef handler(event, context): return 1\n"
        )
        process.communicate(timeout=20)
    assert process.returncode == code
    assert server.requests[-1].split()[1].decode().endswith(path)
    assert b'"errorType":"ValueError"' in server.requests[-1]


def test_the_handlers_folder_is_the_working_folder(make, tmp_path):
    with make("return os.getcwd()") as function:
        assert Path(function.invoke({}).payload) == tmp_path
