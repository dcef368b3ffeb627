"""Pages fetched ahead: all of a file that is loaded, nothing of one that is listed, and no harm where it fails."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from pathlib import Path

import pytest

from realizar_lambda import native
from realizar_lambda.formats import model_file, open_model, readahead
from realizar_lambda.loading import load_file
from realizar_lambda.registry.summary import summarise_file

MODEL = Path(__file__).resolve().parent.parent.parent / "models" / "stories-q4_k.gguf"
N_BYTES = (1 << 24) + 4097


def resident_pages(path: Path) -> int:
    """How many of a file's pages lie in memory."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        n = -(-len(mapped) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * n)()
        view = memoryview(mapped)
        start = ctypes.c_void_p(native.address(view))
        failed = ctypes.CDLL(None, use_errno=True).mincore(start, ctypes.c_size_t(len(mapped)), found)
        view.release()
        assert failed == 0, os.strerror(ctypes.get_errno())
        return sum(state & 1 for state in found)


def forget(path: Path) -> None:
    """Put a file's pages out of memory; skip where the file system has no other place for them."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident_pages(path):
        pytest.skip("this file system keeps its files in memory")


@pytest.fixture
def cold(tmp_path: Path) -> Path:
    path = tmp_path / "cold.bin"
    path.write_bytes(bytes(N_BYTES))
    forget(path)
    return path


def test_every_page_is_in_memory_afterwards_and_none_is_read_twice(cold: Path) -> None:
    n_pages = -(-N_BYTES // mmap.PAGESIZE)
    with cold.open("rb") as file:
        assert 0 < readahead.fetch(file.fileno(), N_BYTES) <= N_BYTES  # the kernel itself reads on a little
        assert resident_pages(cold) == n_pages
        assert readahead.fetch(file.fileno(), N_BYTES) == 0


def test_a_file_that_became_shorter_ends_it(cold: Path) -> None:
    with cold.open("r+b") as file:
        file.truncate(5000)
        assert readahead.fetch(file.fileno(), N_BYTES) == 5000


def test_a_file_that_memory_has_no_room_for_is_left_to_faults(cold: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "available_bytes", lambda **limits: N_BYTES)
    with cold.open("rb") as file:
        assert not readahead.start(file.fileno(), N_BYTES)
    assert resident_pages(cold) == 0


def test_a_descriptor_that_cannot_be_read_ends_it_quietly(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    readahead._fetch_and_close(descriptor, N_BYTES)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that counts as large, out of memory."""
    monkeypatch.setattr(model_file, "READ_AHEAD_FROM", 1)
    path = tmp_path / "stories.gguf"
    path.write_bytes(MODEL.read_bytes())
    forget(path)
    return path


def test_a_model_that_is_loaded_is_fetched_whole(model: Path) -> None:
    load_file(str(model))
    n_pages = -(-model.stat().st_size // mmap.PAGESIZE)
    limit = time.monotonic() + 30
    while resident_pages(model) < n_pages and time.monotonic() < limit:
        time.sleep(0.01)
    assert resident_pages(model) == n_pages


@pytest.mark.parametrize("read_header", [open_model, summarise_file])
def test_a_model_whose_header_is_read_is_not_fetched(read_header, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "start", lambda *arguments: pytest.fail("it was fetched"))
    read_header(str(model))


def test_a_small_model_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MODEL.stat().st_size < model_file.READ_AHEAD_FROM
    monkeypatch.setattr(readahead, "start", lambda *arguments: pytest.fail("it was fetched"))
    load_file(str(MODEL))
