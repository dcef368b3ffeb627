"""Whole files: what is written is what the recipe says, loads elsewhere, and depends on no thread count."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from oracles import gguf_model, transformer

from realizar_lambda import cli
from realizar_lambda.errors import FormatError, RequestError, UnsupportedError
from realizar_lambda.formats import gguf_writer, open_model
from realizar_lambda.quantize import encode
from realizar_lambda.quantize.importance import read_importance
from realizar_lambda.quantize.rewrite import plan, rewrite
from realizar_lambda.quantize.source import from_gguf

METADATA = {
    "general.architecture": "llama",
    "llama.block_count": 1,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "general.name": "small",
    "some.list": [1, 2, 3],
}


def write_model(path, *, spoil=None):
    """A small F32 file with a norm and three matrices; `spoil(weights)` changes it first."""
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": (64, 256),
        "blk.0.attn_norm.weight": (256,),
        "blk.0.attn_v.weight": (64, 256),
        "blk.0.ffn_down.weight": (256, 96),
    }
    weights = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    if spoil:
        spoil(weights)
    tensors = {name: (w.shape, "F32", w.tobytes()) for name, w in weights.items()}
    gguf_writer.write(path, METADATA, tensors, types={"some.list": "[u8]"})
    return weights


def run(source_path, output, recipe_name, **options):
    source = from_gguf(open_model(source_path))
    n_threads = options.pop("n_threads", 1)
    importance = options.pop("importance", None)
    planned = plan(source, recipe_name, has_importance=importance is not None, **options)
    return rewrite(source, planned, str(output), recipe_name=recipe_name, importance=importance, n_threads=n_threads)


def test_a_recipe_is_carried_out_and_the_rest_is_kept(tmp_path):
    weights = write_model(tmp_path / "in.gguf")
    written = run(tmp_path / "in.gguf", tmp_path / "out.gguf", "Q4_K_M")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types == {
        "token_embd.weight": "Q6_K",
        "blk.0.attn_norm.weight": "F32",
        "blk.0.attn_v.weight": "Q6_K",
        "blk.0.ffn_down.weight": "Q8_0",
    }
    for tensor, record in zip(reader.tensors, written, strict=True):
        values = dequantize(tensor.data, tensor.tensor_type).reshape(weights[tensor.name].shape)
        expected = np.sqrt(np.mean((values - weights[tensor.name]) ** 2) / np.mean(weights[tensor.name] ** 2))
        assert record.relative_error == pytest.approx(expected, rel=1e-3)
        assert record.n_bytes == tensor.n_bytes
    assert reader.fields["general.file_type"].contents() == 15
    assert reader.fields["general.quantization_version"].contents() == 2
    assert reader.fields["general.name"].contents() == "small"
    assert open_model(tmp_path / "out.gguf").metadata.types["some.list"] == "[u8]"


@pytest.mark.parametrize("recipe_name", ["Q4_K_S", "Q8_0"])
def test_bytes_do_not_depend_on_the_number_of_threads(recipe_name, tmp_path):
    def widen(weights):
        weights["token_embd.weight"] = np.random.default_rng(1).standard_normal((3000, 256)).astype(np.float32)

    write_model(tmp_path / "in.gguf", spoil=widen)
    for n_threads in (1, 3):
        run(tmp_path / "in.gguf", tmp_path / f"{n_threads}.gguf", recipe_name, n_threads=n_threads)
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "3.gguf").read_bytes()


def test_a_tensor_that_has_its_type_already_is_copied(tmp_path):
    write_model(tmp_path / "in.gguf")
    run(tmp_path / "in.gguf", tmp_path / "q.gguf", "Q4_0", is_pure=True)
    again = run(tmp_path / "q.gguf", tmp_path / "r.gguf", "Q4_0", is_pure=True)
    assert (tmp_path / "q.gguf").read_bytes() == (tmp_path / "r.gguf").read_bytes()
    assert all(record.relative_error == 0 for record in again)


def test_importance_reaches_the_encoder(tmp_path):
    weights = write_model(tmp_path / "in.gguf")
    importance = {"blk.0.attn_v.weight": np.linspace(0, 5, 256, dtype=np.float32)}
    run(tmp_path / "in.gguf", tmp_path / "out.gguf", "Q6_K", importance=importance)
    expected = encode("Q6_K", weights["blk.0.attn_v.weight"], importance["blk.0.attn_v.weight"])
    assert bytes(open_model(tmp_path / "out.gguf").tensors["blk.0.attn_v.weight"].data) == expected


def test_an_importance_file_is_read_as_means(tmp_path):
    sums = np.arange(8, dtype=np.float32).reshape(2, 4)
    tensors = {
        "a.weight.in_sum2": ((2, 4), "F32", sums.tobytes()),
        "a.weight.counts": ((2, 1), "F32", np.array([3, 1], np.float32).tobytes()),
    }
    gguf_writer.write(tmp_path / "i.gguf", {"general.type": "imatrix"}, tensors)
    np.testing.assert_array_equal(read_importance(str(tmp_path / "i.gguf"))["a.weight"], [1, 1.5, 2, 2.5])


def test_a_file_without_importance_is_refused(tmp_path):
    write_model(tmp_path / "in.gguf")
    with pytest.raises(FormatError, match="not an importance matrix"):
        read_importance(str(tmp_path / "in.gguf"))


def test_a_nan_names_its_tensor_and_leaves_no_file(tmp_path):
    def spoil(weights):
        weights["blk.0.attn_v.weight"][5, 7] = np.nan

    write_model(tmp_path / "in.gguf", spoil=spoil)
    with pytest.raises(FormatError, match=r"tensor 'blk.0.attn_v.weight', from row 0: element 1287 is nan"):
        run(tmp_path / "in.gguf", tmp_path / "out.gguf", "Q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["in.gguf"]


def test_the_source_itself_is_not_overwritten(tmp_path):
    write_model(tmp_path / "in.gguf")
    with pytest.raises(RequestError, match="is the file that is read"):
        run(tmp_path / "in.gguf", tmp_path / "in.gguf", "Q8_0")


def test_part_of_a_split_model_is_refused(tmp_path):
    tensors = {"a.weight": ((1, 1), "F32", bytes(4))}
    gguf_writer.write(tmp_path / "in.gguf", {"general.architecture": "llama", "split.count": 2}, tensors)
    with pytest.raises(UnsupportedError, match="one of 2 parts"):
        from_gguf(open_model(tmp_path / "in.gguf"))


@pytest.mark.parametrize(
    ("recipe_name", "tolerance"), [("BF16", 0.02), ("Q8_0", 0.05), ("Q6_K", 0.12), ("Q4_K_M", 0.4)]
)
def test_a_model_answers_nearly_the_same_from_the_file_written(recipe_name, tolerance, data_dir, tmp_path):
    path = data_dir / "models" / "random-256" / "llama-f32.gguf"
    run(path, tmp_path / "out.gguf", recipe_name)
    ids = [1, 403, 407, 261, 378, 432, 383, 286]
    expected = transformer.logits(*gguf_model.read(path), ids)
    got = transformer.logits(*gguf_model.read(tmp_path / "out.gguf"), ids)
    assert np.sqrt(np.mean((got - expected) ** 2)) < tolerance * expected.std()


def test_the_command_writes_a_file_and_tells_each_tensors_error(tmp_path, capsys):
    write_model(tmp_path / "in.gguf")
    arguments = ["quantize", str(tmp_path / "in.gguf"), str(tmp_path / "out.gguf"), "--type", "Q8_0"]
    assert cli.main([*arguments, "--tensor-type", "attn_v=F16"]) == cli.OK
    shown = capsys.readouterr()
    assert "blk.0.attn_v.weight     F32   F16" in shown.out
    assert "0.5" in shown.out
    assert "4 tensors" in shown.out
    assert "there is no vocabulary" in shown.err
    assert open_model(tmp_path / "out.gguf").tensors["blk.0.attn_v.weight"].block.name == "F16"


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, capsys):
    write_model(tmp_path / "in.gguf")
    assert cli.main(["quantize", str(tmp_path / "in.gguf"), "--type", "Q2_K", "--dry-run"]) == cli.OK
    shown = capsys.readouterr().out
    assert "blk.0.attn_v.weight     64 x 256  F32   Q4_K" in shown
    assert "bits per weight" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["in.gguf"]


@pytest.mark.parametrize(
    "more",
    [
        ["--type", "Q8_0"],
        ["out.gguf", "--type", "Q8_0", "--tensor-type", "x"],
        ["o", "--type", "F16", "--threads", "0"],
    ],
)
def test_wrong_arguments_are_wrong_usage(more, tmp_path, capsys):
    write_model(tmp_path / "in.gguf")
    assert cli.main(["quantize", str(tmp_path / "in.gguf"), *more]) == cli.USAGE
    assert capsys.readouterr().err
