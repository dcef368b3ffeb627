"""The random Llamas of the benchmarks: sane logits, the same bytes again, loadable by others."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from oracles import gguf_model, transformer

from bench import random_llama
from realizar_lambda.errors import UnsupportedError
from realizar_lambda.formats import open_model


def test_the_smallest_has_logits_of_about_unit_variance_and_distinct_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    random_llama.write(str(path), "15M", "Q8_0")
    metadata, weights = gguf_model.read(path)
    assert len({row.tobytes() for row in weights["token_embd.weight"]}) == random_llama.N_VOCABULARY
    assert 0.5 < transformer.logits(metadata, weights, [1, 300, 301]).std() < 2
    assert {tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors} == {"Q8_0", "F32"}


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    contents = []
    for number, seed in enumerate((1, 1, 2)):
        random_llama.write(str(tmp_path / str(number)), "15M", "Q4_0", seed=seed)
        contents.append((tmp_path / str(number)).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_the_vocabulary_is_as_long_as_the_embedding_and_has_no_token_twice(tmp_path: Path) -> None:
    random_llama.write(str(tmp_path / "m.gguf"), "15M", "Q4_0")
    model = open_model(tmp_path / "m.gguf")
    tokens = list(model.metadata["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
    assert len(set(tokens)) == len(tokens) == model.tensors["token_embd.weight"].shape[0]


def test_the_sizes_have_the_parameters_that_their_names_say() -> None:
    counts = {
        name: sum(int(np.prod(shape)) for shape in random_llama._shapes(size).values())
        for name, size in random_llama.SIZES.items()
    }
    assert counts == {"15M": 15191712, "110M": 109529856, "1.1B": 1100048384}


@pytest.mark.parametrize(("size", "block"), [("15M", "Q4_K"), ("15M", "AprQ4"), ("2B", "F16")])
def test_what_cannot_be_made_is_refused(size: str, block: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError):
        random_llama.write(str(tmp_path / "m.gguf"), size, block)
