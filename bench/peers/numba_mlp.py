"""A Lambda handler of the 784-128-10 classifier as Numba's JIT makes it, its compiled code in Numba's cache on disk."""

import json
import os

import numpy as np
from numba import njit

with np.load(os.path.join(os.environ["PEER_MODEL"], "model.npz")) as stored:
    weight0, bias0, weight1, bias1 = (stored[name] for name in ("weight0", "bias0", "weight1", "bias1"))


@njit("f4[:](f4[:,::1], f4[::1], f4[::1])", cache=True, fastmath=True, error_model="numpy")
def linear(weight, bias, x):  # type: ignore[no-untyped-def]
    out = np.empty(weight.shape[0], np.float32)
    for row in range(weight.shape[0]):
        total = np.float32(0.0)
        for column in range(weight.shape[1]):
            total += weight[row, column] * x[column]
        out[row] = total + bias[row]
    return out


@njit("f4[:](f4[::1])", cache=True, error_model="numpy")
def softmax(x):  # type: ignore[no-untyped-def]
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    features = np.array(json.loads(event["body"])["features"], np.float32)
    hidden = np.maximum(linear(weight0, bias0, features), np.float32(0.0))
    probabilities = softmax(linear(weight1, bias1, hidden))
    body = {"prediction": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
