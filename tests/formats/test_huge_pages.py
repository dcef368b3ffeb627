"""Weights in huge pages: the same answers, no file map, memory that is counted, and a note where there are none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import realizar_lambda
from realizar_lambda import cli, native
from realizar_lambda.errors import CapacityError, FormatError
from realizar_lambda.formats import huge_pages, open_model
from realizar_lambda.language_model import LanguageModel
from realizar_lambda.registry import Registry
from realizar_lambda.serving import lambda_handler

ROOT = Path(__file__).resolve().parent.parent.parent
STORIES = ROOT / "models" / "stories-q4_k.gguf"
SMALL = ROOT / "models" / "mnist_mlp.apr"
IDS = [1, 403, 407, 261, 378]

needs_huge_pages = pytest.mark.skipif(huge_pages.why_not() is not None, reason="this kernel offers no huge pages")


def mapping_of(address: int) -> dict[str, str]:
    """What the kernel says of the mapping that an address lies in."""
    fields: dict[str, str] = {}
    is_here = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            if is_here:
                break
            begin, end = (int(part, 16) for part in first.split("-"))
            is_here = begin <= address < end
            fields = {"name": rest.rpartition(" ")[2] if "/" in rest else ""}
        else:
            fields[first] = rest.strip()
    return fields


@needs_huge_pages
def test_every_tensor_lies_in_advised_memory_and_the_file_is_not_mapped(tmp_path):
    path = tmp_path / "own-copy.gguf"
    path.write_bytes(STORIES.read_bytes())
    model = open_model(path, huge_pages=True)
    assert str(path) not in Path("/proc/self/maps").read_text()
    assert native.address(model.buffer) % huge_pages.HUGE_BYTES == 0
    mapped = open_model(path)
    for name, tensor in model.tensors.items():
        place = mapping_of(native.address(tensor.data))
        assert "hg" in place["VmFlags:"].split()
        assert place["name"] == ""
        assert tensor.data.readonly
        assert tensor.data == mapped.tensors[name].data
    assert model.n_bytes == path.stat().st_size
    assert str(path) in Path("/proc/self/maps").read_text(), "the test looks for a name that maps have"


@needs_huge_pages
@pytest.mark.parametrize("n_threads", [1, 2])
def test_logits_and_text_are_the_same_to_the_bit(n_threads):
    mapped, copied = (LanguageModel.open(str(STORIES), n_threads=n_threads, huge_pages=own) for own in (False, True))
    assert bytes(mapped.logits(IDS)) == bytes(copied.logits(IDS))
    assert mapped.generate("Once", seed=3).token_ids == copied.generate("Once", seed=3).token_ids


@needs_huge_pages
def test_a_file_that_fills_no_huge_page_keeps_its_map():
    model = realizar_lambda.load(SMALL, huge_pages=True)
    assert mapping_of(native.address(model.model_file.buffer))["name"].endswith("mnist_mlp.apr")


@needs_huge_pages
def test_shards_are_read_into_huge_pages_too(tmp_path):
    for number in (1, 2):
        n = 3 << 18
        header = json.dumps({f"w{number}": {"dtype": "F32", "shape": [n], "data_offsets": [0, 4 * n]}}).encode()
        content = len(header).to_bytes(8, "little") + header + bytes(4 * n)
        (tmp_path / f"model-{number}.safetensors").write_bytes(content)
    index = {"weight_map": {"w1": "model-1.safetensors", "w2": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    model = open_model(tmp_path, huge_pages=True)
    for tensor in model.tensors.values():
        assert "hg" in mapping_of(native.address(tensor.data))["VmFlags:"].split()


def test_a_copy_that_the_memory_has_no_room_for_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(huge_pages, "available_bytes", lambda: 2_000_000)
    with pytest.raises(CapacityError, match=r"stories-q4_k.gguf on huge pages needs 4194304 bytes, there are 2000000"):
        open_model(STORIES, huge_pages=True)


def test_what_is_available_is_the_least_of_the_machine_and_the_control_group(tmp_path):
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:     4 kB\n")
    assert huge_pages.available_bytes(str(meminfo), str(limit)) == 4096
    limit.write_text("1000\n")
    assert huge_pages.available_bytes(str(meminfo), str(limit)) == 1000
    limit.write_text("max\n")
    assert huge_pages.available_bytes(str(meminfo), str(limit)) == 4096
    meminfo.write_text("nothing\n")
    everything = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    assert huge_pages.available_bytes(str(meminfo), str(limit)) == everything


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(bytes(3 << 20))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(FormatError, match="byte 3145728: the file ends here, it had 4194304 bytes"):
            huge_pages.read_file(str(path), descriptor, 4 << 20)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("always madvise [never]\n", "is 'always madvise [never]', it must be [always] or [madvise]"),
        (None, "the kernel offers no huge pages: there is no "),
    ],
)
def test_a_kernel_without_huge_pages_is_noted_and_the_file_is_mapped(tmp_path, monkeypatch, content, reason):
    enabled = tmp_path / "enabled"
    if content is not None:
        enabled.write_text(content)
    notes: list[str] = []
    assert not huge_pages.can_have(notes.append, enabled=str(enabled))
    assert reason in notes[0]
    assert notes[0].endswith("; weights stay in the file's map")
    monkeypatch.setattr(huge_pages, "why_not", lambda enabled: "the kernel offers no huge pages")
    with pytest.warns(RuntimeWarning, match="weights stay in the file's map") as caught:
        model = realizar_lambda.load(STORIES, huge_pages=True)
    assert caught[0].filename == __file__
    assert mapping_of(native.address(model.model_file.buffer))["name"].endswith("stories-q4_k.gguf")
    with pytest.warns(RuntimeWarning, match="weights stay in the file's map"):
        LanguageModel.open(str(STORIES), huge_pages=True)


@pytest.mark.parametrize("content", ["[always] madvise never", "always [madvise] never"])
def test_a_kernel_that_offers_them_is_taken_at_its_word(tmp_path, content):
    (tmp_path / "enabled").write_text(content)
    assert huge_pages.why_not(str(tmp_path / "enabled")) is None


def test_the_command_says_on_stderr_that_there_are_none(monkeypatch, capsys):
    monkeypatch.setattr(huge_pages, "why_not", lambda enabled: "the kernel offers no huge pages")
    code = cli.main(["generate", str(STORIES), "Once", "--max-tokens", "1", "--huge-pages"])
    captured = capsys.readouterr()
    assert code == 0
    assert captured.err.startswith("note: the kernel offers no huge pages; weights stay in the file's map\n")


def test_the_handler_logs_that_there_are_none_and_answers(monkeypatch, capsys):
    monkeypatch.setattr(huge_pages, "why_not", lambda enabled: "the kernel offers no huge pages")
    environ = {"REALIZAR_HUGE_PAGES": "on", "REALIZAR_MODELS_DIR": str(ROOT / "models")}
    handler = lambda_handler.make_handler(environ)
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["event"] == "no_huge_pages"
    assert line["reason"].startswith("the kernel offers no huge pages")
    answer = handler({"action": "generate", "prompt": "Once", "max_tokens": 1, "model_id": "stories-q4_k"}, None)
    assert answer["num_generated"] == 1


@needs_huge_pages
def test_the_registry_counts_whole_huge_pages():
    folder = str(ROOT / "models")
    loaded = Registry(folder, huge_pages=True).get("stories-q4_k")
    assert loaded.n_bytes == 4 << 20
    assert "hg" in mapping_of(native.address(loaded.model.model_file.buffer))["VmFlags:"].split()
    assert Registry(folder, huge_pages=True).get("iris").n_bytes == (ROOT / "models/iris.apr").stat().st_size
    with pytest.raises(CapacityError, match="'stories-q4_k' needs 4194304 bytes, there are 3000000"):
        Registry(folder, huge_pages=True, max_bytes=3_000_000).get("stories-q4_k")
    assert Registry(folder, max_bytes=3_000_000).get("stories-q4_k").n_bytes == STORIES.stat().st_size
