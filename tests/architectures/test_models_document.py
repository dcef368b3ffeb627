"""docs/models.md names every family, type, key and kind of scaling that there is, and its example runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np

from realizar_lambda import ops
from realizar_lambda.architectures import config, families, hugging_face_config, rope

TEXT = (Path(__file__).resolve().parent.parent.parent / "docs" / "models.md").read_text()
WORDS = {word.strip(".") for word in re.findall(r"[A-Za-z0-9_.]+", TEXT)}


def test_every_family_type_and_scaling_is_named() -> None:
    for table in (families.GGUF, families.HUGGING_FACE, ops.MATMUL_BLOCKS, rope.KINDS):
        assert {*table} <= WORDS


def test_every_key_that_is_read_is_named() -> None:
    read = re.findall(r'keys\.(?:count|number|text)\(\s*"([a-z_0-9.]+)"', inspect.getsource(config))
    assert len(set(read)) > 20
    assert {*read, "rope.scale_linear", "attention.causal"} <= WORDS
    for names in hugging_face_config.KEYS.values():
        assert set(names.values()) <= WORDS


def test_the_example_runs(data_dir: Path) -> None:
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert code is not None
    path = data_dir / "models" / "stories260K" / "derived" / "stories260K-f32.gguf"
    names: dict[str, object] = {}
    exec(code[1].replace("models/stories.gguf", str(path)), names)
    llm, context = names["llm"], names["context"]
    assert context.ids.tolist() == [1, 403]
    assert np.asarray(llm.logits([1, 403, 407])).shape == (3, 512)
