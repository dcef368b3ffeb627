"""What a handler is told of its invocation: Lambda's context object. It knows no socket."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class ContextError(Exception):
    """A header of the Runtime API that cannot be read: which, and what it holds."""


class Identity:
    """The Cognito identity that called, None and None where there is none."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    def __init__(self, identity_id: object = None, pool_id: object = None) -> None:
        self.cognito_identity_id = identity_id
        self.cognito_identity_pool_id = pool_id


class Context:
    """As `awslambdaric` has it, and `can_stream`: this loop sends a streamed answer piece by piece."""

    can_stream = True
    function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
    function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
    memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
    log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")

    def __init__(self, headers: Mapping[str, str]) -> None:
        """From the headers of an invocation, by lower-case name. Raises ContextError."""
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn")
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        deadline = headers.get("lambda-runtime-deadline-ms", "")
        if not (deadline.isascii() and deadline.isdigit() and len(deadline) < 16):
            raise ContextError(f"Lambda-Runtime-Deadline-Ms must be milliseconds since 1970, got {deadline[:40]!r}")
        self._deadline_ms = int(deadline)
        self.client_context: object = None
        self.identity = Identity()
        self._trace_context: dict[str, str] = {}
        if headers.get("lambda-runtime-client-context") or headers.get("lambda-runtime-cognito-identity"):
            from realizar_lambda.serving.runtime.client_context import read_client_context, read_identity

            self.client_context, self._trace_context = read_client_context(headers)
            self.identity = read_identity(headers)

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the invocation, never less than 0."""
        return max(0, self._deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """The W3C trace context of the caller."""
        return dict(self._trace_context)

    def log(self, message: object) -> None:
        """Write to the function's log."""
        sys.stdout.write(str(message))
