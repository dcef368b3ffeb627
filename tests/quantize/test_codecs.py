"""Codecs against the slow oracle, the `gguf` package, stored blocks, GGML's own quantiser, and a block by hand."""

from __future__ import annotations

import json
import struct

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles import blocks as oracle
from quantize.distributions import distributions

from realizar_lambda.errors import RequestError, UnsupportedError
from realizar_lambda.quantize import CODECS, decode, encode

GGML_NAMES = [name for name in CODECS if name != "AprQ4"]
QUANTIZED = [name for name in CODECS if CODECS[name].block.is_quantized]
GGUF_ENCODES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# File of llama.cpp's own quantiser -> block type; every matrix in it has that type.
LLAMA_CPP_FILES = {
    "Q2_K": "Q2_K",
    "Q3_K_S": "Q3_K",
    "Q4_0": "Q4_0",
    "Q4_1": "Q4_1",
    "Q4_K_S": "Q4_K",
    "Q5_0": "Q5_0",
    "Q5_1": "Q5_1",
    "Q5_K_S": "Q5_K",
    "Q6_K": "Q6_K",
    "Q8_0": "Q8_0",
}


def random_blocks(name, n_blocks, seed=0):
    """Any bytes at all: scales may be NaN, infinite, negative or subnormal."""
    return np.random.default_rng(seed).integers(0, 256, n_blocks * CODECS[name].block.n_bytes, np.uint8)


def same_bits(got, expected):
    """Equal bit for bit, but that any NaN equals any other."""
    equal = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    return got.shape == expected.shape and bool(equal.all())


@pytest.fixture(scope="module")
def real_rows(data_dir):
    """Rows of a trained model, (64, 256) f32."""
    return np.fromfile(data_dir / "blocks" / "real-64x256.f32", "<f4").reshape(64, 256)


def rms_error(rows, name, data):
    return float(np.sqrt(np.mean((decode(name, data).reshape(rows.shape) - rows) ** 2)))


def test_every_codec_has_the_geometry_that_the_oracle_has():
    got = {name: (codec.block.n_elements, codec.block.n_bytes) for name, codec in CODECS.items()}
    assert got == {name: row[:2] for name, row in oracle.DECODERS.items()}


@pytest.mark.parametrize("name", CODECS)
def test_decoding_random_bytes_equals_the_slow_oracle_bit_for_bit(name):
    data = random_blocks(name, 40)
    assert same_bits(decode(name, data.tobytes()), oracle.decode(name, data.tobytes()))


@pytest.mark.parametrize("name", GGML_NAMES)
def test_decoding_random_bytes_equals_the_gguf_package_bit_for_bit(name):
    data = random_blocks(name, 3000, seed=1)
    with np.errstate(all="ignore"):
        expected = dequantize(data.reshape(3000, -1), gguf.GGMLQuantizationType[name]).reshape(-1)
    assert same_bits(decode(name, data), expected.astype(np.float32))


@pytest.mark.parametrize("name", GGML_NAMES)
def test_decoding_the_stored_blocks_gives_the_stored_values(name, data_dir):
    folder = data_dir / "blocks"
    entry = json.loads((folder / "index.json").read_text())["types"].get(name, {})
    for case in (case for case in entry.values() if isinstance(case, dict)):
        expected = np.fromfile(folder / case["expected"], "<f4")
        assert same_bits(decode(name, (folder / case["blocks"]).read_bytes()), expected)


def test_a_q4_k_block_by_hand():
    scales = bytes([1, 2, 3, 63, 4, 5, 6, 63, 0x21, 0, 0, 0])
    block = struct.pack("<ee", 0.5, 0.25) + scales + bytes([0xA3]) * 128
    values = decode("Q4_K", block)
    assert values[0] == 0.5 * 1 * 3 - 0.25 * 4
    assert values[32] == 0.5 * 2 * 10 - 0.25 * 5
    assert values[128] == 0.5 * 1 * 3 - 0.25 * 2


@pytest.mark.parametrize("name", GGUF_ENCODES)
def test_encoding_gives_the_bytes_of_the_gguf_package(name, real_rows):
    for label, rows in distributions(real_rows).items():
        expected = quantize(rows, gguf.GGMLQuantizationType[name]).tobytes()
        assert encode(name, rows) == expected, label


@pytest.mark.parametrize("file_type", LLAMA_CPP_FILES)
def test_encoding_is_no_worse_than_the_quantiser_of_llama_cpp(file_type, data_dir):
    folder = data_dir / "models" / "random-256"
    source = {t.name: t.data for t in gguf.GGUFReader(folder / "llama-f32.gguf").tensors}
    name = LLAMA_CPP_FILES[file_type]
    for tensor in gguf.GGUFReader(folder / f"llama-{file_type}.gguf").tensors:
        if tensor.tensor_type.name == name:
            rows = np.asarray(source[tensor.name])
            theirs = rms_error(rows, name, tensor.data.tobytes())
            assert rms_error(rows, name, encode(name, rows)) <= theirs * 1.0000001, tensor.name


@pytest.mark.parametrize("name", QUANTIZED)
def test_what_was_decoded_encodes_to_nearly_the_same_values(name, real_rows):
    once = decode(name, encode(name, real_rows)).reshape(real_rows.shape)
    twice = decode(name, encode(name, once)).reshape(real_rows.shape)
    assert np.sqrt(np.mean((twice - once) ** 2)) <= np.sqrt(np.mean((once - real_rows) ** 2))


@pytest.mark.parametrize("name", CODECS)
def test_zeros_encode_to_zeros(name):
    assert not decode(name, encode(name, np.zeros((3, 256)))).any()


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("constant", [1.0, -1.0, 3e-5, -60000.0])
def test_constant_rows_keep_their_value_nearly(name, constant):
    values = decode(name, encode(name, np.full((2, 256), constant)))
    np.testing.assert_allclose(values, constant, rtol=0.02, atol=1e-6)


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    rows=arrays(np.float32, (2, 256), elements=st.floats(-1000, 1000, width=32, allow_subnormal=False), fill=st.just(0))
)
def test_no_element_is_further_off_than_a_step_of_its_row(name, rows):
    values = decode(name, encode(name, rows)).reshape(rows.shape)
    assert np.isfinite(values).all()
    worst = {"F32": 0, "F16": 2**-11, "BF16": 2**-8, "Q2_K": 0.6, "Q3_K": 0.5}.get(name, 0.26)
    assert np.abs(values - rows).max() <= worst * np.abs(rows).max() + 1e-6


@pytest.mark.parametrize("name", [name for name in QUANTIZED if name not in ("Q8_0", "AprQ4")])
def test_importance_lowers_the_error_where_it_is_high(name, real_rows):
    importance = np.exp(2 * np.random.default_rng(3).standard_normal(256))

    def weighted_error(data):
        return np.sum(importance * (decode(name, data).reshape(real_rows.shape) - real_rows) ** 2)

    assert weighted_error(encode(name, real_rows, importance)) < 0.97 * weighted_error(encode(name, real_rows))


@pytest.mark.parametrize("name", QUANTIZED)
def test_importance_of_zero_everywhere_is_no_importance(name, real_rows):
    assert encode(name, real_rows, np.zeros(256)) == encode(name, real_rows)


@pytest.mark.parametrize("name", QUANTIZED)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_quantised_type_refuses_what_is_not_finite_and_says_where(name, bad):
    rows = np.ones((300, 256), np.float32)
    rows[299, 3] = bad
    with pytest.raises(RequestError, match=f"element {299 * 256 + 3} is {bad}; {name} holds finite values"):
        encode(name, rows)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_a_plain_type_keeps_what_is_not_finite(name):
    values = decode(name, encode(name, [np.nan, np.inf, -np.inf, -0.0]))
    assert np.isnan(values[0])
    assert list(values[1:3]) == [np.inf, -np.inf]
    assert np.signbit(values[3])


@pytest.mark.parametrize(
    ("name", "value"), [("F16", 65520.0), ("BF16", 3.4e38), ("Q4_0", 1e6), ("Q6_K", 1e9), ("Q4_K", 3e38)]
)
def test_a_value_too_large_for_the_type_is_refused(name, value):
    with pytest.raises(RequestError, match=f"element 256 is .*; {name} cannot hold so large a value"):
        encode(name, np.array([[0.0] * 256, [value] * 256]))


def test_the_largest_half_is_not_too_large():
    assert decode("F16", encode("F16", [65504.0])) == 65504.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode("Q4_K", np.zeros(128)), r"multiple of 256 elements, got shape \(128,\)"),
        (lambda: encode("Q4_0", np.float32(1)), r"multiple of 32 elements, got shape \(\)"),
        (lambda: decode("Q8_0", bytes(35)), "blocks of 34 bytes, got 35 bytes"),
        (lambda: encode("Q4_0", np.ones((2, 32)), np.ones(31)), r"importance must have shape \(32,\) or \(2, 32\)"),
        (lambda: encode("Q4_0", np.ones(32), -np.ones(32)), "finite and not negative"),
        (lambda: encode("Q4_0", np.ones(32), np.full(32, np.nan)), "finite and not negative"),
    ],
)
def test_what_does_not_fit_the_blocks_is_refused(call, message):
    with pytest.raises(RequestError, match=message):
        call()


def test_a_type_without_codec_is_named_with_those_there_are():
    with pytest.raises(UnsupportedError, match=r"Q8_K.*supported: F32, F16, BF16, Q4_0"):
        decode("Q8_K", b"")


@pytest.mark.parametrize("name", CODECS)
def test_no_rows_encode_to_no_bytes(name):
    assert encode(name, np.zeros((0, 256))) == b""
    assert decode(name, b"").shape == (0,)
