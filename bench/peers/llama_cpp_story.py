"""A Lambda handler that goes on with a story through llama-cpp-python, one thread."""

import json
import os

from llama_cpp import Llama

model = Llama(
    os.path.join(os.environ["PEER_MODEL"], "stories-q4_k.gguf"), n_ctx=0, n_threads=1, n_threads_batch=1, verbose=False
)


def handler(event: dict[str, str], context: object) -> dict[str, object]:
    request = json.loads(event["body"])
    answer = model.create_completion(request["prompt"], max_tokens=request["max_tokens"], temperature=0.0)
    body = {"text": answer["choices"][0]["text"]}
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
