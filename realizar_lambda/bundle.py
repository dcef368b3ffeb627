"""The package's modules in one file: what packaging makes of their bytecode, and a start reads. It compiles nothing.

Looking through folders for a module costs the interpreter some 45 us: importing a handler takes 17.7 instead of
19.5 ms for predictions, which import 40 modules of ours, and 26.2 instead of 29.4 ms for text with its 72. Like the
rest of an image's bytecode, the file's is not compared with its source. Where there is none for this interpreter, as
in a source checkout, modules are found as ever.

    4 bytes   the number of this interpreter's bytecode
    4         n, little-endian
    n         {module: (offset behind this, bytes, whether it is a package)}, marshalled
              the code of each, marshalled
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import CodeType, ModuleType

HEAD_BYTES = 8


def file_name(tag: str | None = sys.implementation.cache_tag) -> str:
    """The name of the file in the package's folder, for an interpreter of this tag."""
    return f"bundle.{tag}.bin"


def packed(modules: Mapping[str, tuple[bytes, bool]]) -> bytes:
    """The content of a file of {module: (marshalled code, whether it is a package)}."""
    index = {}
    offset = 0
    for name, (code, is_package) in modules.items():
        index[name] = (offset, len(code), is_package)
        offset += len(code)
    listed = marshal.dumps(index)
    codes = b"".join(code for code, _ in modules.values())
    return MAGIC_NUMBER + len(listed).to_bytes(4, "little") + listed + codes


class Bundle:
    """A finder and loader of the modules in an open file. `folder` is that of the package, whose sources lie there."""

    def __init__(self, folder: str, file: int, n_listed: int) -> None:
        self._root = folder.rpartition("/")[0]
        self._file = file
        self._codes = HEAD_BYTES + n_listed
        self._index: dict[str, tuple[int, int, bool]] = marshal.loads(posix.pread(file, n_listed, HEAD_BYTES))

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of this name, or None for the other finders."""
        found = self._index.get(name)
        if found is None:
            return None
        place = f"{self._root}/{name.replace('.', '/')}"
        is_package = found[2]
        origin = f"{place}/__init__.py" if is_package else f"{place}.py"
        spec = ModuleSpec(name, self, origin=origin, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(place)
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """The import machinery makes it."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """A module's code."""
        offset, n_bytes, _ = self._index[name]
        code: CodeType = marshal.loads(posix.pread(self._file, n_bytes, self._codes + offset))
        return code


def install(folder: str) -> bool:
    """Have the modules of the package in `folder` found in its file for this interpreter; whether there is one."""
    try:
        file = posix.open(f"{folder}/{file_name()}", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return False
    head = posix.pread(file, HEAD_BYTES, 0)
    if head[:4] != MAGIC_NUMBER:
        posix.close(file)
        return False
    sys.meta_path.insert(0, Bundle(folder, file, int.from_bytes(head[4:], "little")))
    return True
