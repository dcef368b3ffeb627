from __future__ import annotations

from pathlib import Path

import elf
import pytest

from realizar_lambda import native, ops
from realizar_lambda.kernels import build
from realizar_lambda.kernels.targets import TARGETS

LIBC = {"memset", "memcpy", "memmove", "sched_yield", "syscall"}
"""All that a library may want of the process that loads it."""
MACHINES = {"x86_64": 62, "aarch64": 183}


@pytest.fixture(params=sorted(TARGETS))
def content(request: pytest.FixtureRequest, native_folder: Path) -> tuple[str, bytes]:
    """The name and bytes of every library that was built, whether this CPU can run it or not."""
    if not build.is_current(native_folder, [request.param]):
        pytest.skip(f"{request.param} is of another architecture and not built here, or not from these sources")
    return request.param, (native_folder / f"{request.param}.so").read_bytes()


def test_a_library_wants_only_what_every_libc_has(content: tuple[str, bytes]) -> None:
    _, data = content
    file = elf.Elf(data)
    assert file.undefined <= LIBC
    assert elf.DT_NEEDED not in file.tags(data)


def test_a_library_exports_exactly_the_declared_functions(content: tuple[str, bytes]) -> None:
    _, data = content
    assert elf.Elf(data).defined == ops.EXPORTS.keys()


def test_a_library_is_for_its_targets_machine(content: tuple[str, bytes]) -> None:
    name, data = content
    assert elf.Elf(data).machine == MACHINES[TARGETS[name].triple.partition("-")[0]]


def test_a_library_has_no_text_relocations(content: tuple[str, bytes]) -> None:
    _, data = content
    tags = elf.Elf(data).tags(data)
    assert elf.DT_TEXTREL not in tags
    assert not tags.get(elf.DT_FLAGS, 0) & elf.DF_TEXTREL


def test_nothing_in_a_library_is_writable_and_executable_the_stack_least_of_all(content: tuple[str, bytes]) -> None:
    _, data = content
    segments = elf.Elf(data).segments
    (stack,) = [segment for segment in segments if segment.kind == elf.PT_GNU_STACK]
    assert not stack.flags & elf.EXECUTABLE
    both = elf.EXECUTABLE | elf.WRITABLE
    assert all(segment.flags & both != both for segment in segments if segment.kind == elf.PT_LOAD)


def test_loading_a_library_runs_no_code_and_searches_no_path(content: tuple[str, bytes]) -> None:
    _, data = content
    tags = elf.Elf(data).tags(data)
    assert not tags.keys() & {elf.DT_INIT, elf.DT_INIT_ARRAY, elf.DT_RPATH, elf.DT_RUNPATH}


def test_a_library_names_no_folder_of_the_machine_that_built_it(content: tuple[str, bytes]) -> None:
    _, data = content
    folders = {str(Path.home()), str(build.PACKAGE), str(build.PACKAGE.parent), "/tmp/", ".pyenv", "site-packages"}
    assert not [folder for folder in folders if len(folder) > 1 and folder.encode() in data]


def test_a_library_is_small(content: tuple[str, bytes]) -> None:
    _, data = content
    assert len(data) < 2 << 20


def test_every_library_that_a_cpu_may_choose_is_a_target() -> None:
    chosen = {name for rows in native.ISAS.values() for name, _ in rows}
    assert TARGETS.keys() <= chosen
    machines = {TARGETS[name].triple.partition("-")[0] for name in TARGETS}
    assert {name for machine in machines for name, _ in native.ISAS[machine]} == TARGETS.keys()


def test_a_librarys_vectors_are_as_wide_as_its_target_says(library: native.Library) -> None:
    assert library.lanes() == TARGETS[library.isa].lanes <= ops.MAX_LANES
