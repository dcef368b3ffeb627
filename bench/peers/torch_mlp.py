"""A Lambda handler of the 784-128-10 classifier in PyTorch (TorchScript), one thread."""

import json
import os

import torch

torch.set_num_threads(1)
model = torch.jit.load(os.path.join(os.environ["PEER_MODEL"], "model.pt"))


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    features = torch.tensor([json.loads(event["body"])["features"]], dtype=torch.float32)
    with torch.inference_mode():
        probabilities = model(features)[0]
    body = {"prediction": int(probabilities.argmax()), "probabilities": probabilities.tolist()}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
