"""The least a Lambda handler can do: what every cold start is compared with. It imports nothing."""


def handler(event: object, context: object) -> dict[str, object]:
    """An empty answer."""
    return {"statusCode": 200, "body": "{}"}
