"""The random Llamas of the benchmarks: sane logits, the same bytes again, loadable by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracles import transformer

from bench import random_llama
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats import open_model
from realizar_lambda.quantize import decode


def test_the_smallest_has_logits_of_about_unit_variance_and_rows_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    random_llama.write(str(path), "2M", "Q8_0")
    model = open_model(path)
    weights = {
        name: decode(tensor.block.name, tensor.data).reshape(tensor.shape) for name, tensor in model.tensors.items()
    }
    assert len({row.tobytes() for row in weights["token_embd.weight"]}) > 31_900
    assert 0.5 < transformer.logits(model.metadata, weights, [1, 300, 301]).std() < 2
    assert {tensor.block.name for tensor in model.tensors.values()} == {"Q8_0", "F32"}


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        random_llama.write(str(tmp_path / str(number)), "2M", "Q4_0", seed=seed)
        contents.append((tmp_path / str(number)).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_vocabulary_is_as_long_as_the_embedding_and_has_no_token_twice(tmp_path: Path) -> None:
    random_llama.write(str(tmp_path / "m.gguf"), "2M", "Q4_0")
    model = open_model(tmp_path / "m.gguf")
    tokens = list(model.metadata["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
    assert len(set(tokens)) == len(tokens) == model.tensors["token_embd.weight"].shape[0]


def test_the_sizes_have_the_parameters_that_their_names_say() -> None:
    counts = {
        name: sum(int(np.prod(shape)) for shape in random_llama._shapes(size).values())
        for name, size in random_llama.SIZES.items()
    }
    assert counts == {"2M": 2146624, "110M": 109529856, "1.1B": 1100048384}


@pytest.mark.parametrize(("size", "block"), [("2M", "Q4_K"), ("2M", "AprQ4"), ("2B", "F16")])
def test_what_cannot_be_made_is_refused(size: str, block: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        random_llama.write(str(tmp_path / "m.gguf"), size, block)
