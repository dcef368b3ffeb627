from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import struct
from array import array
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny_classifiers
from fresh_process import EMULATED, python

from realizar_lambda import native, ops
from realizar_lambda.errors import BuildError, UnsupportedError
from realizar_lambda.kernels import build
from realizar_lambda.native import address, allocate, choose_isa, cpu_flags, listed_flags, n_threads_from

X86 = dict(native.ISAS["x86_64"])
ARM = dict(native.ISAS["aarch64"])
needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="no numba to compile kernels with")
V3, V4 = (X86[name].split() for name in ("x86_64_v3", "x86_64_v4"))


def test_the_best_library_is_chosen_that_the_cpu_can_run() -> None:
    assert choose_isa("x86_64", frozenset(V4 + V3)) == "x86_64_v4"
    assert choose_isa("x86_64", frozenset(V3)) == "x86_64_v3"
    assert choose_isa("x86_64", frozenset(V4 + V3) - {"avx512_vnni"}) == "x86_64_v3"
    assert choose_isa("aarch64", frozenset(ARM["aarch64"].split())) == "aarch64"


@pytest.mark.parametrize(("machine", "flag"), [("x86_64", flag) for flag in V3] + [
    ("aarch64", flag) for flag in ARM["aarch64"].split()
])  # fmt: skip
def test_a_cpu_without_what_the_least_library_needs_is_refused_with_the_missing_flag(machine: str, flag: str) -> None:
    flags = frozenset(" ".join(native.ISAS[machine][-1][1:]).split()) - {flag}
    with pytest.raises(UnsupportedError, match=rf"this CPU, which lacks {flag} that"):
        choose_isa(machine, flags)


def test_a_wanted_library_is_taken_where_the_cpu_can_run_it_and_refused_where_not() -> None:
    assert choose_isa("x86_64", frozenset(V4 + V3), "x86_64_v3") == "x86_64_v3"
    with pytest.raises(UnsupportedError, match=r"lacks avx512f.* that x86_64_v4 needs"):
        choose_isa("x86_64", frozenset(V3), "x86_64_v4")


@pytest.mark.parametrize(("machine", "wanted"), [("x86_64", "avx9"), ("x86_64", "aarch64"), ("aarch64", "x86_64_v3")])
def test_an_unknown_library_name_is_refused_with_the_names_there_are(machine: str, wanted: str) -> None:
    with pytest.raises(UnsupportedError, match=f"REALIZAR_ISA='{wanted}' on {machine} is not supported") as caught:
        choose_isa(machine, frozenset(V4 + V3), wanted)
    assert caught.value.supported == ", ".join(dict(native.ISAS[machine]))


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"a riscv64 CPU is not supported; supported: aarch64, x86_64"):
        choose_isa("riscv64", frozenset())


@pytest.mark.parametrize(("text", "flags"), [
    ("processor\t: 0\nflags\t\t: fpu avx2 fma\nbugs\t\t: none\n", {"fpu", "avx2", "fma"}),
    ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", {"fp", "asimd", "asimddp"}),
    ("processor\t: 0\n", set()),
    ("", set()),
    ("model name\t: caf\xe9 flags avx2\nflags\t: one\n", {"one"}),
])  # fmt: skip
def test_the_cpus_flags_are_read_as_linux_lists_them(tmp_path: Path, text: str, flags: set[str]) -> None:
    path = tmp_path / "cpuinfo"
    path.write_bytes(text.encode("latin-1"))
    assert listed_flags(str(path)) == flags


@pytest.mark.skipif(EMULATED, reason="the flags listed are those of the machine that the emulator runs on")
def test_the_c_library_says_what_the_system_lists_of_every_flag_that_a_library_needs() -> None:
    needed = set(" ".join(flags for _, flags in native.ISAS[os.uname().machine]).split())
    assert cpu_flags() & needed == listed_flags() & needed


@pytest.mark.parametrize("machine", native.ISAS)
def test_the_c_library_is_asked_for_every_flag_that_a_library_needs(machine: str) -> None:
    needed = " ".join(flags for _, flags in native.ISAS[machine]).split()
    assert native._FLAG_BITS[machine].keys() == set(needed)


def test_where_the_c_library_does_not_say_the_systems_list_is_read() -> None:
    def find(name: str, *types: object) -> Callable[[int], int]:
        raise AttributeError(name)

    assert cpu_flags(find) == listed_flags() != frozenset()


def test_a_system_that_lists_no_flags_has_none(tmp_path: Path) -> None:
    assert listed_flags(str(tmp_path / "absent")) == frozenset()


@pytest.mark.parametrize("text", ["1", "2", "64"])
def test_the_number_of_threads_comes_from_the_environment(text: str) -> None:
    assert n_threads_from({native.THREADS_VARIABLE: text}) == int(text)


@pytest.mark.parametrize("text", ["0", "-1", "65", "2.0", "two", " 2", "\u0662", "9" * 5000])
def test_a_number_of_threads_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match=r"REALIZAR_THREADS=.* supported: 1 to 64"):
        n_threads_from({native.THREADS_VARIABLE: text})


@pytest.mark.parametrize(("megabytes", "n"), [("128", 1), ("1769", 1), ("3538", 2), ("10240", 5), ("x", 64), ("", 64)])
def test_a_function_has_a_thread_for_each_whole_vcpu_that_its_memory_buys(megabytes: str, n: int) -> None:
    found = n_threads_from({"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes})
    assert found == min(n, native.usable_cpus(), native.MAX_THREADS)


@pytest.mark.parametrize("environ", [{}, {native.THREADS_VARIABLE: ""}])
def test_without_a_setting_there_is_a_thread_for_each_cpu_that_the_process_may_use(environ: dict[str, str]) -> None:
    assert n_threads_from(environ) == min(native.usable_cpus(), native.MAX_THREADS)


def test_an_address_is_that_of_the_first_byte() -> None:
    for buffer in (b"abcdef", bytearray(b"abcdef"), memoryview(b"abcdef"), array("B", b"abcdef")):
        assert ctypes.string_at(address(buffer), 6) == b"abcdef"
    assert address(memoryview(b"abcdef")[2:]) == address(memoryview(b"abcdef")) + 2


def test_an_address_leaves_no_export_behind() -> None:
    buffer = bytearray(b"abc")
    address(buffer)
    buffer.extend(b"def")
    assert buffer == b"abcdef"


@pytest.mark.parametrize("value", [None, 7, "text", memoryview(b"abcdef")[::2]])
def test_what_is_no_contiguous_buffer_has_no_address(value: object) -> None:
    with pytest.raises((TypeError, BufferError)):
        address(value)


@pytest.mark.parametrize("n_bytes", [0, 1, 4096, 100_000])
def test_memory_is_zeroed_writable_and_begins_a_page(n_bytes: int) -> None:
    memory = allocate(n_bytes)
    assert len(memory) >= max(n_bytes, 1)
    assert address(memory) % mmap.PAGESIZE == 0
    assert not any(memory[:])
    memory[0] = 1


def test_memory_is_not_shared_with_a_forked_child() -> None:
    found = python(
        "import os\n"
        "from realizar_lambda.native import allocate\n"
        "memory = allocate(10)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    memory[0] = 7\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(memory[0])\n"
    )
    assert found == "0\n"


def test_an_export_that_the_library_has_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="exports no 'realizar_nothing'"):
        native.library().realizar_nothing  # noqa: B018


def test_a_library_built_from_other_tables_is_refused_by_name(tmp_path: Path) -> None:
    """Its checksum of the tables is a constant of its code: another one stands for another library."""
    data = Path(native.library().path).read_bytes()
    own, other = (struct.pack("<I", value) for value in (ops.abi(), ops.abi() ^ 0xFFFF))
    if os.uname().machine == "aarch64":
        pytest.skip("code for aarch64 holds such a constant in two pieces")
    assert own in data
    path = tmp_path / "other.so"
    path.write_bytes(data.replace(own, other))
    with pytest.raises(BuildError, match=rf"{path} was built from other sources"):
        native.Library("other", str(path))


def test_a_library_without_a_checksum_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "older.so"
    path.write_bytes(Path(native.library().path).read_bytes().replace(b"realizar_abi", b"realizar_xyz"))
    with pytest.raises(BuildError, match="was built from other sources"):
        native.Library("older", str(path))


def test_a_file_that_is_no_library_is_the_systems_error(tmp_path: Path) -> None:
    path = tmp_path / "text.so"
    path.write_text("no library")
    with pytest.raises(OSError, match=r"text\.so"):
        native.Library("text", str(path))


def test_the_library_is_loaded_once() -> None:
    assert native.library() is native.library()


PREDICT = """
import sys, realizar_lambda
from realizar_lambda import native
model = realizar_lambda.load(sys.argv[1])
print(native.library().isa, *model.predict([1.0, 2.0, -1.5, 0.25]).probabilities)
"""


@pytest.mark.parametrize("isa", [
    isa for isa, flags in native.ISAS[os.uname().machine] if cpu_flags().issuperset(flags.split())
])  # fmt: skip
def test_a_forced_library_gives_the_same_answers(tmp_path: Path, isa: str) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr")
    name, *found = python(PREDICT, path, environment={native.ISA_VARIABLE: isa}).split()
    assert name == isa
    expected = tiny_classifiers.mlp_answer((4, 5, 3), [1.0, 2.0, -1.5, 0.25])
    assert [float(text) for text in found] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("isa", "words"), [
    ("avx9", "UnsupportedError: REALIZAR_ISA='avx9' on"), ("", os.uname().machine),
])  # fmt: skip
def test_a_process_is_told_that_its_library_is_unknown_and_an_empty_name_is_none(
    tmp_path: Path, isa: str, words: str
) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr")
    assert words in python(PREDICT, path, environment={native.ISA_VARIABLE: isa})


def cache_of(folder: Path) -> Path:
    """Where a first use keeps what it built, below an XDG cache folder."""
    return folder / "realizar-lambda" / build.source_hash()[:16]


@needs_numba
def test_a_library_built_by_an_earlier_first_use_is_found_in_the_users_cache(tmp_path: Path) -> None:
    cached = cache_of(tmp_path / "cache")
    cached.mkdir(parents=True)
    shutil.copy(native.library().path, cached / f"{native.library().isa}.so")
    (tmp_path / "empty").mkdir()
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr")
    code = PREDICT + "print(native.library().path)"
    environment = {native.LIBRARY_VARIABLE: str(tmp_path / "empty"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert python(code, path, environment=environment).splitlines()[1] == str(cached / f"{native.library().isa}.so")


FIRST_USE = "from realizar_lambda import native; native.library()"
WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None; "


@needs_numba
def test_a_first_use_without_a_c_compiler_says_what_to_install(tmp_path: Path) -> None:
    environment = {native.LIBRARY_VARIABLE: str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "c"), "PATH": str(tmp_path)}
    found = python(FIRST_USE, environment=environment | {"CC": ""})
    assert "realizar_lambda.errors.BuildError: no C compiler to link" in found
    assert "apt-get install" in found


def test_a_first_use_without_numba_says_what_to_install(tmp_path: Path) -> None:
    environment = {native.LIBRARY_VARIABLE: str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = python(WITHOUT_NUMBA + FIRST_USE, environment=environment)
    assert "realizar_lambda.errors.BuildError: no kernel library" in found
    assert "pip install realizar-lambda[build]" in found


@needs_numba
def test_a_first_use_that_cannot_write_its_cache_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    environment = {native.LIBRARY_VARIABLE: str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "file")}
    found = python(FIRST_USE, environment=environment)
    assert "realizar_lambda.errors.BuildError: " in found
    assert str(tmp_path / "file") in found


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("max 100000\n", 64), ("100000 100000\n", 1), ("150000 100000\n", 2), ("50000 100000\n", 1),
        ("800000 100000\n", 8), ("0 100000\n", 1), ("", 64), ("100000\n", 64), ("100000 0\n", 64), ("x y\n", 64),
    ],
)  # fmt: skip
def test_a_containers_quota_bounds_the_cpus(
    text: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    assert native.usable_cpus(((str(quota),),)) == most
    assert native.usable_cpus(((str(tmp_path / "none"),),)) == 64


@pytest.mark.parametrize(
    ("time", "period", "most"),
    [("-1", "100000", 64), ("100000", "100000", 1), ("150000", "100000", 2), ("0", "100000", 1), ("7236", "0", 64),
     ("", "100000", 64), ("100000", "", 64)],
)  # fmt: skip
def test_a_containers_quota_bounds_the_cpus_where_the_kernel_has_the_old_interface(
    time: str, period: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    paths = (str(tmp_path / "cpu.cfs_quota_us"), str(tmp_path / "cpu.cfs_period_us"))
    for path, text in zip(paths, (time, period), strict=True):
        Path(path).write_text(text + "\n")
    assert native.usable_cpus(((str(tmp_path / "cpu.max"),), paths)) == most
    os.unlink(paths[1])
    assert native.usable_cpus(((str(tmp_path / "cpu.max"),), paths)) == 64


@pytest.mark.parametrize(
    ("machine", "environ", "expected"),
    [
        ("x86_64", {}, None),
        ("x86_64", {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, None),
        ("x86_64", {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, "x86_64_v3"),
        ("x86_64", {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "REALIZAR_ISA": "x86_64_v4"}, "x86_64_v4"),
        ("x86_64", {"REALIZAR_ISA": "x86_64_v4"}, "x86_64_v4"),
        ("aarch64", {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, "aarch64"),
        ("riscv64", {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, None),
    ],
)
def test_a_process_that_a_snapshot_is_taken_of_takes_the_least_library(
    machine: str, environ: dict[str, str], expected: str | None
) -> None:
    assert native.wanted_isa(environ, machine) == expected


def test_the_library_of_a_snapshot_is_the_least_one_for_real(tmp_path: Path) -> None:
    path = tiny_classifiers.write_mlp(tmp_path / "tiny.apr")
    environment = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", native.ISA_VARIABLE: ""}
    assert python(PREDICT, path, environment=environment).split()[0] == native.ISAS[os.uname().machine][-1][0]
