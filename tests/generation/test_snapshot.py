"""Prefixes in files: the same bits as computed ones, and files that are damaged, foreign or hostile."""

from __future__ import annotations

import json
import os
import random
import shutil

import pytest

from realizar_lambda import cli
from realizar_lambda.errors import CapacityError, FormatError, RequestError, UnsupportedError
from realizar_lambda.generation.contexts import MIN_BATCH
from realizar_lambda.generation.snapshot import ALIGNMENT, HEAD, fingerprint, open_snapshot, restore, save
from realizar_lambda.language_model import LanguageModel

IDS = [1, *random.Random(1).choices(range(3, 512), k=200)]
N_PREFIX = 150


@pytest.fixture(params=["f32", "q5_1"])
def name(request):
    return request.param


@pytest.fixture
def model(stories, name):
    """A model of its own for each test: what is loaded stays with it."""
    return LanguageModel.open(str(stories / f"stories260K-{name}.gguf"), n_threads=1)


@pytest.fixture
def path(tmp_path, llm):
    """A prefix of stories260K in F32."""
    found = tmp_path / "story.prefix"
    llm.save_prefix(str(found), IDS[:N_PREFIX], room=100)
    return found


def generate(model, ids, **arguments):
    return model.generate(ids, max_tokens=10, seed=2, logprobs=3, **arguments)


def test_going_on_from_a_file_gives_what_a_cold_run_gives(model, tmp_path):
    cold = generate(model, IDS, share_key=None)
    file = str(tmp_path / "story.prefix")
    size = model.save_prefix(file, IDS[:N_PREFIX], room=100)
    assert os.path.getsize(file) == size
    assert model.load_prefix(file) == N_PREFIX
    for key in ("one", "two", None):
        warm = generate(model, IDS, share_key=key)
        assert warm.usage.cached_tokens == N_PREFIX
        assert warm.logprobs == cold.logprobs, "not the same bits"


def test_a_request_that_shares_less_goes_on_from_what_it_shares(model, tmp_path):
    file = str(tmp_path / "story.prefix")
    model.save_prefix(file, IDS[:N_PREFIX])
    model.load_prefix(file)
    other = [*IDS[:90], *reversed(IDS[:60])]
    cold = generate(LanguageModel.open(model.model_file.path, n_threads=1), other)
    warm = generate(model, other)
    assert (warm.usage.cached_tokens, warm.logprobs) == (90, cold.logprobs)
    assert generate(model, IDS[:N_PREFIX], share_key="x").usage.cached_tokens == N_PREFIX - MIN_BATCH
    assert generate(model, [1, 2, 3, 4, 5, 6, 7, 8]).usage.cached_tokens == 1


def test_a_request_that_needs_more_room_goes_on_over_a_copy(model, tmp_path):
    file = str(tmp_path / "story.prefix")
    model.save_prefix(file, IDS[:N_PREFIX], room=5)
    snapshot = open_snapshot(file, model)
    context = restore(snapshot, model, capacity=400)
    assert (context.capacity, context.position, context.ids.tolist()) == (400, N_PREFIX, IDS[:N_PREFIX])
    expected = model.context(400)
    expected.evaluate(IDS[:N_PREFIX])
    assert bytes(context.evaluate(IDS[N_PREFIX:])) == bytes(expected.evaluate(IDS[N_PREFIX:]))
    model.load_prefix(file)
    cold = generate(model, IDS, share_key=None)
    assert generate(model, IDS).logprobs == cold.logprobs


def test_the_file_is_not_written_to(llm, path):
    before = path.read_bytes()
    model = LanguageModel.open(llm.model_file.path, n_threads=1)
    model.load_prefix(str(path))
    generate(model, IDS)
    assert path.read_bytes() == before


def test_the_prefix_beside_a_model_is_used_without_being_asked_for(stories, tmp_path, capsys):
    copy = tmp_path / "model.gguf"
    shutil.copy(stories / "stories260K-f32.gguf", copy)
    (tmp_path / "system").write_text("You tell stories of dragons.", encoding="utf-8")
    assert cli.main(["prefix", str(copy), "--chat", "--file", str(tmp_path / "system"), "--room", "64"]) == 0
    assert capsys.readouterr().err.startswith(f"{copy}.prefix: ")
    model = LanguageModel.open(str(copy), n_threads=1)
    messages = [{"role": "system", "content": "You tell stories of dragons."}, {"role": "user", "content": "Go on"}]
    warm = model.chat(messages, max_tokens=5, temperature=0)
    cold = model.chat(messages, max_tokens=5, temperature=0, share_key="other")
    assert warm.usage.cached_tokens == len(model.tokenizer.encode("System: You tell stories of dragons.\n"))
    assert (warm.token_ids, cold.usage) == (cold.token_ids, warm.usage)


def test_a_damaged_prefix_beside_a_model_is_an_error_at_the_first_request(stories, tmp_path):
    copy = tmp_path / "model.gguf"
    shutil.copy(stories / "stories260K-f32.gguf", copy)
    (tmp_path / "model.gguf.prefix").write_bytes(b"RLPREFIX")
    model = LanguageModel.open(str(copy), n_threads=1)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"model\.gguf\.prefix, byte 0"):
            model.generate("Once", max_tokens=1)


def test_a_file_may_go_once_it_is_loaded(llm, path):
    model = LanguageModel.open(llm.model_file.path, n_threads=1)
    model.load_prefix(str(path))
    path.unlink()
    assert generate(model, IDS).usage.cached_tokens == N_PREFIX


def test_positions_that_hold_nothing_take_no_room_on_disk(llm, tmp_path):
    file = str(tmp_path / "story.prefix")
    llm.save_prefix(file, IDS[:8], room=500)
    status = os.stat(file)
    if status.st_blocks * 512 >= status.st_size:
        pytest.skip("this file system has no holes")
    assert status.st_blocks * 512 < status.st_size / 2


def test_a_prefix_must_have_tokens_for_a_batch_and_leave_room(llm, tmp_path):
    file = str(tmp_path / "x.prefix")
    for ids in (IDS[:3], [1] * 512):
        with pytest.raises(RequestError, match=f"a prefix must have {MIN_BATCH} to 511 tokens, it has {len(ids)}"):
            llm.save_prefix(file, ids)
    with pytest.raises(CapacityError, match="a snapshot needs 1 tokens, there are 0"):
        save(llm.context(16), file)
    assert not os.path.exists(file)


def test_another_model_is_told_by_its_weights_alone(llm, quantised, stories, path, tmp_path):
    with pytest.raises(UnsupportedError, match="a prefix of another model"):
        quantised.load_prefix(str(path))
    content = bytearray((stories / "stories260K-f32.gguf").read_bytes())
    tensor = llm.tensors["blk.3.ffn_down.weight"]
    content[tensor.offset + len(tensor.data) // 2 + 3] ^= 1
    (tmp_path / "other.gguf").write_bytes(content)
    other = LanguageModel.open(str(tmp_path / "other.gguf"), n_threads=1)
    assert fingerprint(other) != fingerprint(llm)
    with pytest.raises(UnsupportedError, match="a prefix of another model"):
        other.load_prefix(str(path))


def test_keys_and_values_of_another_type_are_refused(llm, path):
    other = LanguageModel.open(llm.model_file.path, n_threads=1, cache_element="f16")
    with pytest.raises(UnsupportedError, match="keys and values as 'f32' is not supported; supported: f16"):
        other.load_prefix(str(path))


def header_of(content: bytes) -> dict:
    return json.loads(content[HEAD.size : HEAD.size + HEAD.unpack_from(content)[2]])


def with_header(content: bytes, **changes) -> bytes:
    """The file with fields of its header changed, padded with spaces so that nothing else moves."""
    n = HEAD.unpack_from(content)[2]
    header = {name: value for name, value in (header_of(content) | changes).items() if value is not ...}
    text = json.dumps(header, separators=(",", ":")).encode().ljust(n)
    assert len(text) == n
    return content[: HEAD.size] + text + content[HEAD.size + n :]


def set_bytes(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


DAMAGES = {
    "an empty file": (lambda c: b"", FormatError, "the file must begin with b'RLPREFIX', it begins with b''"),
    "another magic": (lambda c: b"GGUF" + c[4:], FormatError, "byte 0: the file must begin with b'RLPREFIX'"),
    "a cut head": (lambda c: c[:15], FormatError, "byte 0: the file must begin with"),
    "another version": (lambda c: set_bytes(c, 8, b"\2"), UnsupportedError, "version 2 of prefix files"),
    "a huge header": (lambda c: set_bytes(c, 12, b"\xff\xff\xff\xff"), FormatError, "byte 12: the header must have at"),
    "a header past the end": (lambda c: set_bytes(c[:100], 12, b"\0\x0f\0\0"), FormatError, "must be a JSON object"),
    "a header of no JSON": (lambda c: set_bytes(c, 16, b"x"), FormatError, "byte 16: the header must be a JSON object"),
    "a header of brackets": (
        lambda c: set_bytes(set_bytes(c, 12, b"\0\x10\0\0"), 16, b"[" * 4096), FormatError, "must be a JSON object"),
    "no model": (lambda c: with_header(c, model=...), FormatError, "model must be of type str, it is None"),
    "a capacity of text": (lambda c: with_header(c, capacity="9"), FormatError, "capacity must be of type int, it is"),
    "a capacity of true": (lambda c: with_header(c, capacity=True), FormatError, "capacity must be of type int, it is"),
    "no tokens": (lambda c: with_header(c, n_tokens=0), FormatError, "it must have 1 to 512 tokens, it has 0"),
    "negative tokens": (lambda c: with_header(c, n_tokens=-1), FormatError, "it must have 1 to 512 tokens, it has -1"),
    "more tokens than room": (lambda c: with_header(c, n_tokens=300), FormatError, "it has 300, and a capacity of 250"),
    "more room than the model": (lambda c: with_header(c, capacity=513), FormatError, "and a capacity of 513"),
    "a huge capacity": (lambda c: with_header(c, capacity=10**9, n_tokens=1), FormatError, "a capacity of 1000000000"),
    "another capacity": (lambda c: with_header(c, capacity=249), FormatError, "bytes, 318720 of keys and values, it"),
    "fewer tokens": (lambda c: with_header(c, n_tokens=149), FormatError, "the token ids are damaged"),
    "other cache bytes": (lambda c: with_header(c, cache_bytes=1), FormatError, "and says 1"),
    "a cut cache": (lambda c: c[:-1], FormatError, "bytes, 320000 of keys and values, it has"),
    "a longer cache": (lambda c: c + b"\0", FormatError, "bytes, 320000 of keys and values, it has"),
    "a changed token": (lambda c: set_bytes(c, ids_at(c), b"\7"), FormatError, "the token ids are damaged"),
    "a token past the vocabulary": (
        lambda c: with_ids(c, b"\0\2\0\0"), FormatError, "token ids must be in [0, 512), they are"),
    "a negative token": (lambda c: with_ids(c, b"\xff\xff\xff\xff"), FormatError, "they are -1 to"),
}  # fmt: skip


def ids_at(content: bytes) -> int:
    return HEAD.size + HEAD.unpack_from(content)[2]


def with_ids(content: bytes, first: bytes) -> bytes:
    """The file with another first id, and the checksum that goes with it."""
    from zlib import crc32

    at = ids_at(content)
    content = set_bytes(content, at, first)
    # a checksum of fewer digits leaves spaces behind
    return with_header(content, crc32=crc32(content[at : at + 4 * N_PREFIX]))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_with_what_is_wrong(llm, path, damage):
    change, kind, message = DAMAGES[damage]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(kind) as caught:
        llm.load_prefix(str(path))
    assert message in str(caught.value)


def test_any_cut_of_a_file_is_refused(llm, path):
    content = path.read_bytes()
    for n in (*range(0, 700, 7), ALIGNMENT - 1, ALIGNMENT, ALIGNMENT + 1, len(content) - 4096):
        path.write_bytes(content[:n])
        with pytest.raises(FormatError):
            open_snapshot(str(path), llm)


def test_a_file_that_shrinks_after_it_was_opened_is_an_error_and_no_crash(llm, path):
    model = LanguageModel.open(llm.model_file.path, n_threads=1)
    model.load_prefix(str(path))
    with open(path, "r+b") as file:
        file.truncate(ALIGNMENT)
    with pytest.raises(FormatError, match="the file has changed since it was opened"):
        generate(model, IDS)


def test_what_is_no_file_is_refused(llm, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="a prefix is read from a regular file"):
        llm.load_prefix(str(tmp_path / "pipe"))
    with pytest.raises(FormatError):
        llm.load_prefix(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        llm.load_prefix(str(tmp_path / "missing"))


def test_nan_in_a_file_is_the_same_clear_error_as_in_a_model(llm, path):
    content = path.read_bytes()
    n = 320000
    path.write_bytes(content[:-n] + b"\xff" * n)
    model = LanguageModel.open(llm.model_file.path, n_threads=1)
    model.load_prefix(str(path))
    with pytest.raises(RequestError, match="the model's logits must be finite"):
        generate(model, IDS)
