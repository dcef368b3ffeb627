"""The tiny models of `fixtures/architectures` with the logits `transformers` gave. Never imports the package."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "architectures"

NAMES = sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def read(name):
    """`metadata` and `weights` by GGUF's keys and tensor names, `token_ids`, and `logits` (n_tokens, n_vocab)."""
    with safe_open(FOLDER / f"{name}.safetensors", "np") as file:
        header = file.metadata()
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    logits = weights.pop("expected.logits")
    return json.loads(header["metadata"]), weights, json.loads(header["token_ids"]), logits
