from __future__ import annotations

import struct
import time
from pathlib import Path

import gguf as reference
import pytest
from gguf_bytes import gguf, info, key, llama, string

from realizar_lambda.blocks import BLOCKS_BY_ID
from realizar_lambda.errors import FormatError, UnsupportedError
from realizar_lambda.formats import gguf as our_gguf
from realizar_lambda.formats import open_model
from realizar_lambda.formats.gguf_strings import StringArray

REAL = (
    "gguf/malformed-1/vocab-bpe-spm-gemma4.gguf",
    "gguf/malformed-1/fuzz-gguf_open/valid-small.gguf",
    "models/stories260K/derived/stories260K-q5_1.gguf",
    "models/random-256/gpt2-f32.gguf",
    "models/random-256/llama-Q4_K_S.gguf",
)


def put(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", REAL)
def test_a_real_file_reads_as_the_reference_package_reads_it(data_dir: Path, name: str) -> None:
    theirs = reference.GGUFReader(data_dir / name)
    ours = open_model(data_dir / name)
    keys = {key: field for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert list(ours.metadata) == list(keys)
    for key_, field in keys.items():
        value = ours.metadata[key_]
        expected = field.contents()
        assert (list(value) if isinstance(value, memoryview | StringArray) else value) == expected, key_
    assert [(t.name, list(t.shape), t.block.name, t.offset) for t in ours.tensors.values()] == [
        (t.name, t.shape.tolist()[::-1], t.tensor_type.name, t.data_offset) for t in theirs.tensors
    ]
    assert all(ours.tensors[t.name].data == t.data.tobytes() for t in theirs.tensors)


def test_every_real_file_of_the_collection_opens_or_is_refused_by_name(data_dir: Path) -> None:
    refused = {}
    for path in sorted(data_dir.rglob("*.gguf")):
        try:
            assert open_model(path).format in ("gguf-v2", "gguf-v3")
        except (FormatError, UnsupportedError) as error:
            refused[path.name] = type(error)
    assert refused == {
        "ggml-vocab-llama.v1.gguf": UnsupportedError,
        "stories260K-f32-bigendian.gguf": UnsupportedError,
        "hdr-suppress-eos.gguf": FormatError,
        "hdr-wrap-first-offset.gguf": FormatError,
        "hdr-zero-first-dim.gguf": FormatError,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad-version.bin", "GGUF version 1"),
        ("hdr-suppress-eos.gguf", "a string is 19 bytes long"),
        ("hdr-wrap-first-offset.gguf", "lies at 18446744073709551600"),
        ("hdr-zero-first-dim.gguf", "none may be 0"),
        ("huge-counts.bin", "18446744073709551615 keys"),
        ("kv-arr-huge-n.bin", "4294967295 items"),
        ("kv-huge-strlen.bin", "there can be at most 0"),
        ("magic-only.bin", "24 bytes long"),
        ("tensor-huge-dims.bin", "their product"),
        ("trunc-magic.bin", "not a model file"),
    ],
)
def test_every_hostile_file_of_the_collection_is_refused(data_dir: Path, name: str, message: str) -> None:
    with pytest.raises((FormatError, UnsupportedError), match=message):
        open_model(data_dir / "gguf" / "malformed-1" / "fuzz-gguf_open" / name)


def test_an_empty_file_of_version_3_opens(tmp_path: Path) -> None:
    model = open_model(put(tmp_path, gguf()))
    assert (model.format, dict(model.metadata), dict(model.tensors)) == ("gguf-v3", {}, {})


def test_every_value_type_is_read(tmp_path: Path) -> None:
    values = {
        "u8": 255, "i8": -128, "u16": 65535, "i16": -32768, "u32": (1 << 32) - 1, "i32": -(1 << 31),
        "u64": (1 << 64) - 1, "i64": -(1 << 63), "f32": 0.5, "f64": 1e300, "bool": True, "string": "größe",
        "[u8]": [1, 2], "[i16]": [-1], "[f32]": [0.25, float("inf")], "[bool]": [True, False],
        "[string]": ["a", "", "木"], "[i64]": [],
    }  # fmt: skip
    data = gguf([key(name, name, value) for name, value in values.items()], version=2)
    model = open_model(put(tmp_path, data))
    assert model.format == "gguf-v2"
    assert model.metadata.types == {name: name for name in values}
    for name, value in values.items():
        found = model.metadata[name]
        assert (list(found) if name.startswith("[") else found) == value


def test_arrays_stay_where_they_lie_in_the_file(tmp_path: Path) -> None:
    data = gguf([key("t", "[string]", ["ab", "\xff", "c"] * 3000), key("n", "[f32]", [0.0] * 9000)])
    model = open_model(put(tmp_path, data))
    tokens, numbers = model.metadata["t"], model.metadata["n"]
    assert isinstance(tokens, StringArray)
    assert numbers.obj is tokens.data.obj
    assert (len(tokens), tokens[0], tokens[-1], tokens[8999], list(tokens)[3]) == (9000, "ab", "c", "c", "ab")
    assert tokens.bytes_at(1) == "\xff".encode()
    assert tokens.data[tokens.end - 1 : tokens.end] == b"c"
    with pytest.raises(IndexError):
        tokens[9000]


def test_token_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    tokens = open_model(put(tmp_path, gguf([key("t", "[string]", [b"\xff\xfe", b"ok"])]))).metadata["t"]
    assert (tokens[0], tokens.bytes_at(0), list(tokens)) == ("\ufffd\ufffd", b"\xff\xfe", ["\ufffd\ufffd", "ok"])


def test_shapes_are_row_major(tmp_path: Path) -> None:
    data = gguf([], [info("w", (3, 2)), info("s", (), 0, 32), info("q", (64, 5, 1, 2), 8, 64)], bytes(64 + 680))
    tensors = open_model(put(tmp_path, data)).tensors
    assert {name: tensor.shape for name, tensor in tensors.items()} == {"w": (2, 3), "s": (), "q": (2, 1, 5, 64)}
    assert tensors["q"].n_bytes == 2 * 5 * 68


@pytest.mark.parametrize("alignment", [1, 8, 64, 4096])
def test_the_alignment_is_the_files_own(tmp_path: Path, alignment: int) -> None:
    data = gguf(
        [key("general.alignment", "u32", alignment)],
        [info("a", (1,)), info("b", (1,), 0, max(alignment, 4))],
        b"aaaa".ljust(max(alignment, 4)) + b"bbbb",
        alignment=alignment,
    )
    tensors = open_model(put(tmp_path, data)).tensors
    assert (tensors["a"].data, tensors["b"].data) == (b"aaaa", b"bbbb")


F32_4 = [info("t", (4,))]
BROKEN = {
    "empty key": (gguf([key("", "u8", 1)]), "a key is 0 bytes long"),
    "long key": (gguf([key("k" * 65536, "u8", 1)]), "a key is 65536 bytes"),
    "key not UTF-8": (gguf([key(b"\xff", "u8", 1)]), "not UTF-8"),
    "text not UTF-8": (gguf([key("k", "string", b"a\xff")]), "not UTF-8"),
    "key twice": (gguf([key("k", "u8", 1), key("k", "u8", 1)]), "'k' occurs twice"),
    "unknown type": (gguf([string("k") + struct.pack("<Iq", 13, 0)]), "type of 'k' is 13"),
    "unknown item type": (gguf([string("k") + struct.pack("<IIQ", 9, 13, 0)]), "array of type 13"),
    "array of arrays": (gguf([string("k") + struct.pack("<IIQ", 9, 9, 1)]), "array of arrays"),
    "bool of 2": (gguf([key("k", "bool", 2)]), "bool of 2"),
    "item of 2": (gguf([key("k", "[bool]", [0, 2])]), "neither 0 nor 1"),
    "array too long": (gguf([string("k") + struct.pack("<IIQ", 9, 4, 1 << 62)]), f"{1 << 62} items"),
    "strings too long": (gguf([string("k") + struct.pack("<IIQQ", 9, 8, 1, 1 << 40)]), "string is 1099511627776 bytes"),
    "strings past the end": (gguf([string("k") + struct.pack("<IIQQ", 9, 8, 1, 100)]), "ends inside an array"),
    "strings missing": (gguf([string("k") + struct.pack("<IIQQ", 9, 8, 2, 10) + b"x" * 12]), "ends inside an array"),
    "too many keys": (gguf([key("k", "u8", 1)], n_keys=70_000), "there can be at most"),
    "too many tensors": (gguf([], F32_4, bytes(64), n_tensors=1 << 60), "there can be at most"),
    "alignment of 0": (gguf([key("general.alignment", "u32", 0)]), "power of two"),
    "alignment of 48": (gguf([key("general.alignment", "u32", 48)]), "power of two"),
    "alignment of another type": (gguf([key("general.alignment", "u64", 32)]), r"it is 32 \(u64\)"),
    "alignment of text": (gguf([key("general.alignment", "string", "32")]), r"\(string\)"),
    "alignment beyond the file": (
        gguf([key("general.alignment", "u32", 1 << 31)], F32_4, bytes(64)),
        "of 16 bytes lies at 0",
    ),
    "no tensor name": (gguf([], [info("", (4,))], bytes(64)), "name is 0 bytes"),
    "long tensor name": (gguf([], [info("n" * 64, (4,))], bytes(64)), "name is 64 bytes"),
    "tensor name twice": (gguf([], [info("t", (4,)), info("t", (4,), 0, 32)], bytes(64)), "two tensors are named"),
    "five dimensions": (gguf([], [info("t", (1,) * 5)], bytes(64)), "5 dimensions"),
    "a billion dimensions": (gguf([], [string("t") + struct.pack("<I20x", 1 << 30)]), "1073741824 dimensions"),
    "dimension of 0": (gguf([], [info("t", (4, 0))], bytes(64)), "none may be 0"),
    "product that wraps to 0": (gguf([], [info("t", (1 << 32, 1 << 32))], bytes(64)), "their product"),
    "dimension of 2^42+1": (gguf([], [info("t", ((1 << 42) + 1, 1 << 22))], bytes(64)), "their product"),
    "larger than the file": (gguf([], [info("t", (1 << 20,))], bytes(64)), "of 4194304 bytes lies at 0"),
    "offset not aligned": (gguf([], [info("t", (4,), 0, 4)], bytes(64)), "multiples of 32"),
    "offset that wraps": (gguf([], [info("t", (4,), 0, (1 << 64) - 32)], bytes(64)), "lies at 18446744073709551584"),
    "overlap": (gguf([], [info("a", (16,)), info("b", (4,), 0, 32)], bytes(64)), "'b' overlaps 'a'"),
    "unknown block type": (gguf([], [info("t", (4,), 99)], bytes(64)), "type of tensor 't' is 99"),
    "row not of whole blocks": (gguf([], [info("t", (33,), 8)], bytes(64)), "whole blocks of 32"),
    "scalar of a block type": (gguf([], [info("t", (), 8)], bytes(64)), "whole blocks of 32"),
    "version 4": (gguf(version=4), "version is 4"),
    "no head": (llama(["a"], **{"attention.head_count": 0}), r"attention.head_count must be an integer in \[1, 2"),
    "no key-value head": (llama(["a"], **{"attention.head_count_kv": 0}), "head_count_kv must be"),
    "uneven heads": (llama(["a"], **{"attention.head_count_kv": 3}), "2 attention heads cannot share 3"),
    "no block": (llama(["a"], block_count=0), "block_count must be"),
    "too many blocks": (llama(["a"], block_count=100_000), "block_count is 100000"),
    "no context": (llama(["a"], context_length=0), "context_length must be"),
    "wrong width": (llama(["a"], embedding_length=8), "embedding_length is 8"),
    "wrong number of rows": (llama(["a"], rows=2), "2 rows, the vocabulary 1"),
    "wrong vocabulary size": (llama(["a"], vocab_size=3), "vocab_size is 3"),
    "id outside": (llama(["a"], key("tokenizer.ggml.eos_token_id", "u32", 1)), "eos_token_id is 1"),
    "id below 0": (llama(["a"], key("tokenizer.ggml.bos_token_id", "i32", -1)), "bos_token_id is -1"),
    "id as text": (llama(["a"], key("tokenizer.ggml.bos_token_id", "string", "0")), "bos_token_id is '0'"),
    "wrong number of scores": (llama(["a"], key("tokenizer.ggml.scores", "[f32]", [1, 2])), "scores has 2 items"),
    "scores too narrow": (llama(["a"], key("tokenizer.ggml.scores", "[u8]", [1])), r"scores is \[u8\]"),
    "types too narrow": (llama(["a"], key("tokenizer.ggml.token_type", "[u8]", [1])), r"token_type is \[u8\]"),
    "merges of numbers": (llama(["a"], key("tokenizer.ggml.merges", "[u32]", [1])), r"merges is \[u32\]"),
    "negative byte": (llama(["<0x00>", "<0x-1>"]), "<0x-1>"),
    "byte of three digits": (llama(["<0x100>"]), "<0x100>"),
    "tokens as one text": (gguf([key("tokenizer.ggml.tokens", "string", "a")]), "must be"),
    "block beyond the count": (
        gguf(
            [key("general.architecture", "string", "llama"), key("llama.block_count", "u32", 2)],
            [info("blk.2.attn_norm.weight", (4,))],
            bytes(16),
        ),
        "beyond llama.block_count, 2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    data, message = BROKEN[name]
    with pytest.raises(FormatError, match=message):
        open_model(put(tmp_path, data))


def test_text_that_looks_like_a_byte_token_inside_another_is_allowed(tmp_path: Path) -> None:
    open_model(put(tmp_path, llama(["<0x0A>", "say <0x-1>", "<0x", "<0xyz"])))


@pytest.mark.parametrize(("kind", "id"), [("u32", 2), ("u32", (1 << 32) - 1), ("i32", -1)])
def test_a_padding_id_outside_the_vocabulary_is_left_out(tmp_path: Path, kind: str, id: int) -> None:
    model = open_model(put(tmp_path, llama(["a", "b"], key("tokenizer.ggml.padding_token_id", kind, id))))
    assert "tokenizer.ggml.padding_token_id" not in model.metadata
    assert model.checks == {"padding token": f"id {id} is outside the vocabulary of 2, left out"}


def test_one_part_of_a_split_model_says_so(tmp_path: Path) -> None:
    checks = open_model(put(tmp_path, gguf([key("split.count", "u16", 3)]))).checks
    assert checks["split"].startswith("one of 3 files")


def test_per_layer_head_counts_are_left_to_the_architecture(tmp_path: Path) -> None:
    data = gguf([
        key("general.architecture", "string", "openelm"),
        key("openelm.attention.head_count", "[i32]", [12, 0, 16]),
    ])  # fmt: skip
    assert list(open_model(put(tmp_path, data)).metadata["openelm.attention.head_count"]) == [12, 0, 16]


@pytest.mark.parametrize(("type_id", "name"), [(16, "IQ2_XXS"), (34, "TQ1_0"), (39, "MXFP4")])
def test_block_types_we_do_not_have_are_refused_by_name(tmp_path: Path, type_id: int, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"block type {name} of tensor 't'"):
        open_model(put(tmp_path, gguf([], [info("t", (256,), type_id)], bytes(256))))


@pytest.mark.parametrize("type_id", sorted(BLOCKS_BY_ID))
def test_every_block_type_of_the_table_is_read(tmp_path: Path, type_id: int) -> None:
    block = BLOCKS_BY_ID[type_id]
    data = gguf([], [info("t", (2 * block.n_elements, 3), type_id)], bytes(6 * block.n_bytes))
    tensor = open_model(put(tmp_path, data)).tensors["t"]
    assert (tensor.block, tensor.shape, tensor.n_bytes) == (block, (3, 2 * block.n_elements), 6 * block.n_bytes)


@pytest.mark.parametrize("version", [0x01000000, 0x02000000, 0x03000000])
def test_byte_swapped_files_are_refused_by_name(tmp_path: Path, version: int) -> None:
    with pytest.raises(UnsupportedError, match="byte-swapped"):
        open_model(put(tmp_path, gguf(version=version)))


def test_every_truncation_is_refused() -> None:
    data = llama(["<unk>", "a"], key("general.name", "string", "small"), key("x", "[f32]", [1.0]))
    assert our_gguf.read("f", memoryview(data)).metadata["general.name"] == "small"
    for size in range(len(data)):
        with pytest.raises(FormatError):
            our_gguf.read("f", memoryview(data[:size]))


def test_the_native_walk_over_long_arrays_finds_what_the_walk_in_python_does(tmp_path: Path) -> None:
    from realizar_lambda.formats import gguf_strings

    many = [("x" * (i % 7)) + str(i) for i in range(gguf_strings.NATIVE_FROM)]
    model = open_model(put(tmp_path, gguf([key("few", "[string]", ["a"]), key("many", "[string]", many)])))
    strings = model.metadata["many"]
    assert list(strings) == many
    assert list(strings.offsets) == list(strings._walk())
    assert gguf_strings.native_walk(strings.data, strings.start, len(many)) == strings.end
    assert gguf_strings.native_walk(strings.data[: strings.end - 1], strings.start, len(many)) == -1
    assert gguf_strings.native_walk(strings.data, len(strings.data), 1) == -1


def test_a_long_array_whose_string_is_too_long_is_named_by_the_walk_in_python(tmp_path: Path) -> None:
    broken = gguf([string("k") + struct.pack("<IIQ", 9, 8, 2000) + b"\xff" * 20_000])
    with pytest.raises(FormatError, match="string is 18446744073709551615 bytes") as caught:
        open_model(put(tmp_path, broken))
    assert caught.value.offset == 24 + 8 + 1 + 4 + 12


def test_metadata_of_a_128k_vocabulary_are_parsed_in_well_under_a_second(data_dir: Path) -> None:
    path = data_dir / "tokenizers" / "ggml-vocab-llama-bpe.gguf"
    start = time.perf_counter()
    model = open_model(path)
    assert time.perf_counter() - start < 1.0
    assert len(model.metadata["tokenizer.ggml.tokens"]) == 128256
    assert len(model.metadata["tokenizer.ggml.merges"]) == 280147


def test_the_table_of_value_types_is_the_formats() -> None:
    assert {name: id for id, (name, _) in our_gguf.VALUE_TYPES.items()} == {
        {"UINT": "u", "INT": "i", "FLOAT": "f"}.get(kind.name.rstrip("0123456789"), kind.name.lower())
        + "".join(filter(str.isdigit, kind.name)): kind.value
        for kind in reference.GGUFValueType
    }
