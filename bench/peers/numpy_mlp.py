"""A Lambda handler of the 784-128-10 classifier in NumPy."""

import json
import os

import numpy as np

with np.load(os.path.join(os.environ["PEER_MODEL"], "model.npz")) as stored:
    weight0, bias0, weight1, bias1 = (stored[name] for name in ("weight0", "bias0", "weight1", "bias1"))


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    features = np.array(json.loads(event["body"])["features"], np.float32)
    hidden = np.maximum(weight0 @ features + bias0, 0.0)
    logits = weight1 @ hidden + bias1
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
    body = {"prediction": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
