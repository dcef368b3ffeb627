"""S3 notifications: recognised and refused in words: no bucket is read here."""

from __future__ import annotations

from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.serving.application import Application
    from realizar_lambda.serving.invocation import Invocation


class S3:
    """An object was created, copied or removed."""

    name = "s3"

    def answer(self, event: object, invocation: Invocation, application: Application) -> object:
        """Raises RequestError: this function answers requests and reads no buckets."""
        raise RequestError(
            400,
            "S3 notifications are not answered: this function reads no buckets; send the features through an "
            "SQS queue, an HTTP route or a direct invocation",
        )
