"""The checked-in models on disk: weights in the order of their first use, each at the beginning of a cache line.

So a cold start reads a file from front to back. Files are mapped, and a map begins at a page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from realizar_lambda.architectures import families
from realizar_lambda.formats import open_model

MODELS = Path(__file__).resolve().parent.parent.parent / "models"
CACHE_LINE = 64


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.gguf")), ids=lambda path: path.stem)
def test_the_weights_of_a_text_model_lie_in_the_order_of_their_first_use(path: Path) -> None:
    file = open_model(path)
    program, _ = families.build(families.describe(file), capacity=64, chunk=16, cache_element="f16", n_threads=1)
    used: dict[str, int] = {}
    for step in program.steps:
        for value in step.fields.values():
            if hasattr(value, "block"):
                name = value.name.partition("[")[0]
                used.setdefault(name, file.tensors[name].offset)
    assert set(used) == set(file.tensors)
    assert list(used.values()) == sorted(used.values())


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.apr")), ids=lambda path: path.stem)
def test_the_layers_of_a_classifier_lie_in_their_order(path: Path) -> None:
    offsets = [tensor.offset for tensor in open_model(path).tensors.values()]
    layers = [name.split(".")[1] for name in open_model(path).tensors if name.startswith("layers.")]
    assert offsets == sorted(offsets)
    assert layers == sorted(layers, key=int)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.*[fr]")), ids=lambda path: path.stem)
def test_every_weight_begins_a_cache_line(path: Path) -> None:
    file = open_model(path)
    if file.format == "apr-v1":
        pytest.skip("the older format aligns nothing")
    assert {tensor.offset % CACHE_LINE for tensor in file.tensors.values()} == {0}
