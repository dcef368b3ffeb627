"""Against llama.cpp itself: its quantiser is no closer on any distribution, and it loads what we write."""

from __future__ import annotations

import ctypes
import os

import gguf
import numpy as np
import pytest
from oracles import gguf_model, transformer
from quantize.distributions import distributions

from realizar_lambda.formats import open_model
from realizar_lambda.quantize import CODECS, decode, encode
from realizar_lambda.quantize.recipes import RECIPES
from realizar_lambda.quantize.rewrite import plan, rewrite
from realizar_lambda.quantize.source import from_gguf

pytestmark = pytest.mark.peers

llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed (the `bench` extra)")

SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]
WITH_IMPORTANCE = [*SEARCHED, "Q4_0", "Q4_1", "Q5_0", "Q5_1"]


@pytest.fixture(scope="module")
def ggml():
    """GGML's own `ggml_quantize_chunk(type, source, target, start, n_rows, n_columns, importance)`."""
    library = ctypes.CDLL(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        *(ctypes.c_int64,) * 3,
        ctypes.c_void_p,
    ]
    return library


def theirs(library, name, rows, importance=None):
    """The values of `rows` after GGML's quantiser."""
    block = CODECS[name].block
    type_id = int(gguf.GGMLQuantizationType[name])
    library.ggml_quantize_init(type_id)
    data = np.zeros(rows.size // block.n_elements * block.n_bytes, np.uint8)
    weights = None if importance is None else importance.ctypes.data
    assert (
        library.ggml_quantize_chunk(type_id, rows.ctypes.data, data.ctypes.data, 0, *rows.shape, weights) == data.size
    )
    return decode(name, data).reshape(rows.shape)


def errors(name, values, rows):
    """Root mean squares of the error: plain, and weighed as GGML's quantiser weighs it.

    Its weights are rms + |x| over 32 elements for types with offsets and x² for those without.
    """
    squared, by_32 = (values - rows) ** 2, rows.reshape(-1, 32)
    has_offset = name in ("Q2_K", "Q4_K", "Q5_K")
    w = np.sqrt((by_32**2).mean(axis=1, keepdims=True)) + np.abs(by_32) if has_offset else by_32**2
    w = w.reshape(rows.shape)
    return np.array([np.sqrt(squared.mean()), np.sqrt((w * squared).sum() / w.sum())])


@pytest.mark.parametrize("name", SEARCHED)
def test_no_distribution_is_encoded_less_closely_than_by_ggml(name, ggml, data_dir):
    real = np.fromfile(data_dir / "blocks" / "real-64x256.f32", "<f4").reshape(64, 256)
    for label, rows in distributions(real).items():
        ours = errors(name, decode(name, encode(name, rows)).reshape(rows.shape), rows)
        assert (ours <= errors(name, theirs(ggml, name, rows), rows)).all(), label


@pytest.mark.parametrize("name", WITH_IMPORTANCE)
def test_the_error_that_importance_weighs_is_no_larger_than_ggmls(name, ggml, data_dir):
    real = np.fromfile(data_dir / "blocks" / "real-64x256.f32", "<f4").reshape(64, 256)
    importance = np.exp(np.random.default_rng(5).standard_normal(256)).astype(np.float32)
    for label, rows in distributions(real).items():
        ours = decode(name, encode(name, rows, importance)).reshape(rows.shape)
        ours_error, their_error = (
            (importance * (values - rows) ** 2).sum() for values in (ours, theirs(ggml, name, rows, importance))
        )
        assert ours_error <= 1.02 * their_error, label


@pytest.mark.parametrize("model", ["llama", "qwen2", "gpt2"])
@pytest.mark.parametrize("recipe_name", RECIPES)
def test_llama_cpp_loads_what_is_written_and_gives_its_logits(recipe_name, model, data_dir, tmp_path):
    source = from_gguf(open_model(data_dir / "models" / "random-256" / f"{model}-f32.gguf"))
    path = str(tmp_path / "m.gguf")
    rewrite(source, plan(source, recipe_name), path, recipe_name=recipe_name)
    ids = [1, 403, 407, 261, 378, 432, 383, 286]
    llm = llama_cpp.Llama(path, n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    llm.eval(ids)
    expected = transformer.logits(*gguf_model.read(path), ids)
    error = np.sqrt(np.mean((np.asarray(llm.scores)[: len(ids)] - expected) ** 2))
    llm.close()
    assert error < 0.06 * expected.std()  # it quantises activations
