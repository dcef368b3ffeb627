"""A Lambda handler of the 784-128-10 classifier in ONNX Runtime, one thread."""

import json
import os

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.path.join(os.environ["PEER_MODEL"], "model.onnx"), options, providers=["CPUExecutionProvider"]
)


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    features = np.array([json.loads(event["body"])["features"]], np.float32)
    (probabilities,) = session.run(["probabilities"], {"features": features})
    body = {"prediction": int(probabilities[0].argmax()), "probabilities": probabilities[0].tolist()}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
