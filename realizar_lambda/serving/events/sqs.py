"""SQS: each record's body is a direct invocation as JSON text. It knows no route.

A queue takes no answers, so each prediction goes out as a log line under its message's id; the answer to the
event names the messages that failed, and only those are delivered again.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError
from realizar_lambda.serving.body import read_json
from realizar_lambda.serving.events.direct import Direct
from realizar_lambda.serving.events.proxy import text_of
from realizar_lambda.serving.http import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.invocation import Invocation


ACTIONS = ("predict", "predict_batch")  # what a log line may carry the answer of


class SQS:
    """A batch of messages; the event source mapping must have ReportBatchItemFailures on."""

    name = "sqs"

    def answer(self, event: dict[str, Any], invocation: Invocation, application: Application) -> object:
        """`{"batchItemFailures": [{"itemIdentifier"}]}`. Raises RequestError for a record without an id:
        a failure that cannot be named must fail the whole batch, or its message would be lost."""
        direct = Direct()
        failures = []
        for position, record in enumerate(event["Records"]):
            message_id = text_of(record.get("messageId")) if isinstance(record, dict) else ""
            if not message_id:
                raise RequestError(422, f"Records[{position}].messageId must be a non-empty string")
            message = Request("POST", "/", body=record.get("body"))
            try:
                fields = read_json(message, application.settings)
                if isinstance(fields, dict) and fields.get("action", "predict") not in ACTIONS:
                    raise RequestError(422, f"action must be one of {', '.join(ACTIONS)}", "action")
                answer = direct.answer(fields, invocation, application)
            except RequestError as error:
                failures.append({"itemIdentifier": message_id})
                application.log({"event": "message_failed", "message_id": message_id, "code": error.code})
            else:
                application.log({"event": "message_answered", "message_id": message_id, "answer": answer})
        return {"batchItemFailures": failures}
