from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutants import SEEDS, mutate, repaired
from reading import go_over

CORPUS = Path(__file__).parent / "corpus"
ONE_GIBIBYTE = 1 << 30


@pytest.mark.parametrize("name", SEEDS)
def test_every_seed_is_a_valid_file(name: str) -> None:
    assert go_over(SEEDS[name]) is not None


@pytest.mark.parametrize("name", SEEDS)
def test_every_truncation_of_a_seed_is_read_or_refused(name: str) -> None:
    for size in range(len(SEEDS[name])):
        go_over(SEEDS[name][:size])


@pytest.mark.parametrize("name", SEEDS)
def test_every_byte_of_a_seed_may_be_wrong(name: str) -> None:
    seed = SEEDS[name]
    for at in range(len(seed)):
        for value in (0, 0xFF, seed[at] ^ 1, seed[at] ^ 0x80):
            mutant = seed[:at] + bytes([value]) + seed[at + 1 :]
            go_over(mutant)
            go_over(repaired(mutant))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(SEEDS)), number=st.integers(0, 1 << 32))
def test_mutants_are_read_or_refused(name: str, number: int) -> None:
    mutant = mutate(SEEDS[name], random.Random(number))
    go_over(mutant)
    go_over(repaired(mutant))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(SEEDS)), tail=st.binary(max_size=200), n_kept=st.integers(0, 200))
def test_random_bytes_after_a_valid_beginning_are_read_or_refused(name: str, tail: bytes, n_kept: int) -> None:
    go_over(SEEDS[name][:n_kept] + tail)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(magic=st.sampled_from([b"APRN", b"APR\0", b"GGUF", b""]), data=st.binary(max_size=300))
def test_random_bytes_are_read_or_refused(magic: bytes, data: bytes) -> None:
    go_over(magic + data)


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_every_file_of_the_corpus_is_read_or_refused(path: Path) -> None:
    model = go_over(path.read_bytes())
    assert (model is not None) == path.name.startswith("valid-")


def test_hostile_files_are_refused_in_little_memory() -> None:
    """All of the corpus in a process that may not take a gibibyte more than it has after its imports."""
    program = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from reading import go_over
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {ONE_GIBIBYTE}, used + {ONE_GIBIBYTE}))
for path in sorted(Path({str(CORPUS)!r}).iterdir()):
    go_over(path.read_bytes())
for n_lists in (1_000_000, 20_000_000):
    header = b'{{"a":[' + b"[]," * n_lists + b"0]}}"
    go_over(len(header).to_bytes(8, "little") + header)
with open("/proc/self/status") as file:  # not ru_maxrss, which begins with what the parent had
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
print("done", peak // 1024)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert answer.stderr == ""
    done, mebibytes = answer.stdout.split()
    assert done == "done"
    assert int(mebibytes) < 256
