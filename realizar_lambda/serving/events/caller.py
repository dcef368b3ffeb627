"""Who sent an event, as the gateway authenticated them. It believes nothing that the caller wrote.

| in `requestContext` | put there by |
|---|---|
| `authorizer.jwt.claims` | a JWT authorizer of an HTTP API |
| `authorizer.iam` | IAM authorization of an HTTP API or a Function URL |
| `authorizer.claims`, `authorizer.principalId` | a Cognito or a Lambda authorizer of a REST API |
| `identity` | IAM authorization or an API key of a REST API |
"""

from __future__ import annotations

from realizar_lambda.serving.events.proxy import members_of, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLACES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("authorizer", "jwt", "claims"), ("iss", "sub")),
    (("authorizer", "iam"), ("userArn",)),
    (("authorizer", "claims"), ("iss", "sub")),
    (("authorizer",), ("principalId",)),
    (("identity",), ("userArn",)),
    (("identity",), ("apiKeyId",)),
)
"""Where each way leaves the caller's name: the objects to go through, and the fields that make it up."""


def caller_of(event: dict[str, Any]) -> str | None:
    """The caller's name, the same for the same caller and no other; None where nobody was authenticated."""
    context = members_of(event.get("requestContext"))
    for path, fields in PLACES:
        found = context
        for name in path:
            found = members_of(found.get(name))
        values = [text_of(found.get(field)) for field in fields]
        if all(values):
            return repr((*path, *values))
    return None
