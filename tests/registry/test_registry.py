"""Named models: names from files, one load each, least recently used out first."""

from __future__ import annotations

import os

import pytest

from realizar_lambda.errors import CapacityError, FormatError, ModelNotFoundError, UnsupportedError
from realizar_lambda.registry import Registry


class FakeFile:
    format = "apr-v2"
    buffer = b"....\x01\x02\x03\x04"

    def __init__(self, metadata=None, checks=None) -> None:
        self.metadata = metadata or {}
        self.checks = checks or {"footer checksum": "ok"}


class FakeModel:
    def __init__(self, path: str) -> None:
        self.path = path
        self.model_file = FakeFile()


class Loader:
    """Counts what it loads."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, path: str) -> FakeModel:
        self.loaded.append(os.path.basename(path))
        return FakeModel(path)


@pytest.fixture
def folder(tmp_path):
    for name, size in {"a.apr": 10, "b.gguf": 20, "c.safetensors": 30, "manifest.json": 5, "b.apr": 7}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    return tmp_path


def test_names_are_stems_and_a_taken_stem_keeps_its_suffix(folder):
    assert Registry(str(folder), load=Loader()).names() == ("a", "b", "b.gguf", "c")


def test_a_folder_with_a_config_is_a_model_and_another_is_not(folder):
    for name in ("llama.small", "notes"):
        (folder / name).mkdir()
    (folder / "llama.small" / "config.json").write_bytes(b"{}")
    (folder / "llama.small" / "model.safetensors").write_bytes(b"12345")
    registry = Registry(str(folder), load=Loader())
    assert registry.names() == ("a", "b", "b.gguf", "c", "llama.small")
    assert registry.get("llama.small").n_bytes == 7
    assert Registry(paths=[f"{folder}/llama.small/"], load=Loader()).names() == ("llama.small",)


def test_given_paths_come_before_the_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.apr"
    elsewhere.write_bytes(b"x")
    registry = Registry(str(folder), paths=[str(elsewhere)], load=Loader())
    assert registry.path("a") == str(elsewhere)
    assert registry.path("a.apr") == str(folder / "a.apr")


def test_a_model_is_loaded_once(folder):
    load = Loader()
    registry = Registry(str(folder), load=load)
    assert registry.get("a").model is registry.get("a").model
    assert load.loaded == ["a.apr"]
    assert registry.loaded_names() == ["a"]


def test_the_least_recently_used_goes_first(folder):
    load = Loader()
    registry = Registry(str(folder), load=load, max_bytes=40)
    registry.get("a")  # 10
    registry.get("b.gguf")  # 20
    registry.get("a")
    registry.get("b")  # 7: 37 in all
    assert registry.loaded_names() == ["a", "b", "b.gguf"]
    registry.get("c")  # 30: b.gguf and a have to go
    assert registry.loaded_names() == ["b", "c"]
    assert load.loaded == ["a.apr", "b.gguf", "b.apr", "c.safetensors"]


def test_a_model_that_alone_is_too_large_is_refused_and_evicts_nothing(folder):
    registry = Registry(str(folder), load=Loader(), max_bytes=25)
    registry.get("a")
    with pytest.raises(CapacityError, match="model 'c' needs 30 bytes, there are 25"):
        registry.get("c")
    assert registry.loaded_names() == ["a"]


@pytest.mark.parametrize("name", ["x", "", "../a", "/etc/passwd", "a\0", "\ud800", "manifest", "a.apr"])
def test_an_unknown_name_is_refused_with_the_known_ones(folder, name):
    with pytest.raises(ModelNotFoundError) as caught:
        Registry(str(folder), load=Loader()).get(name)
    assert caught.value.known == ["a", "b", "b.gguf", "c"]


def test_a_file_that_is_added_is_found_and_one_that_is_removed_is_not(folder):
    registry = Registry(str(folder), load=Loader())
    registry.names()
    (folder / "new.apr").write_bytes(b"x")
    assert registry.get("new").n_bytes == 1
    (folder / "b.apr").unlink()
    with pytest.raises(ModelNotFoundError):
        registry.get("b.apr")
    (folder / "a.apr").unlink()
    with pytest.raises(ModelNotFoundError):
        registry.get("a")


@pytest.mark.parametrize("folder_name", [None, "/no/such/folder"])
def test_without_a_folder_there_are_no_models(folder_name):
    registry = Registry(folder_name, load=Loader())
    assert registry.names() == ()
    with pytest.raises(ModelNotFoundError, match="known models: none"):
        registry.get("a")


@pytest.mark.parametrize(
    ("file", "version"),
    [
        (FakeFile({"version": "1.2"}), "1.2"),
        (FakeFile({"general.version": "v1"}), "v1"),
        (FakeFile(), "04030201"),
        (FakeFile(checks={"checksum": "ok"}), "04030201"),
        (FakeFile(checks={"footer checksum": "absent"}), None),
        (FakeFile(checks={"header checksum": "ok"}), None),
        (FakeFile(checks={"checksum": "ok", "compression": "zstd"}), None),
    ],
)
def test_the_version_is_what_the_metadata_says_or_the_checksum(folder, file, version):
    def load(path):
        model = FakeModel(path)
        model.model_file = file
        return model

    assert Registry(str(folder), load=load).get("a").version == version


def test_an_error_of_loading_names_the_file_and_not_its_folder(folder):
    path = str(folder / "a.apr")
    for error in (FormatError(path, 3, "bad"), UnsupportedError(f"{path}: an encrypted file", "plain ones")):

        def load(path, error=error):
            raise error

        with pytest.raises(type(error)) as caught:
            Registry(str(folder), load=load).get("a")
        assert str(caught.value).startswith("a.apr")
        assert str(folder) not in str(caught.value)


def test_a_failed_load_is_tried_again(folder):
    attempts = []

    def load(path):
        attempts.append(path)
        if len(attempts) == 1:
            raise FormatError(path, 0, "half written")
        return FakeModel(path)

    registry = Registry(str(folder), load=load)
    with pytest.raises(FormatError):
        registry.get("a")
    assert registry.get("a").name == "a"


def test_summaries_are_read_again_when_a_file_changes(folder):
    read = []

    def summarise(path):
        read.append(os.path.basename(path))
        return {"size_bytes": os.stat(path).st_size}

    registry = Registry(str(folder), load=Loader(), summarise=summarise)
    registry.get("c")
    first = registry.summaries()
    assert [(row["id"], row["loaded"]) for row in first] == [
        ("a", False),
        ("b", False),
        ("b.gguf", False),
        ("c", True),
    ]
    registry.summaries()
    assert len(read) == 4
    (folder / "a.apr").write_bytes(b"longer than before")
    assert registry.summaries()[0]["size_bytes"] == 18
    assert read[4:] == ["a.apr"]
    (folder / "a.apr").unlink()
    (folder / "d.apr").write_bytes(b"x")
    assert [row["id"] for row in registry.summaries()] == ["b", "b.gguf", "c", "d"]
