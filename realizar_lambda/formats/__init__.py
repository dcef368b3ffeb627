"""Reading and writing model files: what is in them, whether it is sound; not what models compute.

`open_model` finds the format by the file's first bytes and imports only that format's reader.
"""

from __future__ import annotations

import os

from realizar_lambda.errors import FormatError
from realizar_lambda.formats.model_file import ModelFile, map_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ModelFile", "open_model"]

READERS = {
    b"APRN": "apr_v1",
    b"APR\0": "apr_v2",
    b"GGUF": "gguf",
}
"""First four bytes -> module of this package with `read(path, data, *, verify)`.

safetensors has no magic: its files start with a length below 2**32 as u64, then `{`."""


def open_model(
    path: str | os.PathLike[str], *, verify: bool = False, huge_pages: bool = False, read_ahead: bool = False
) -> ModelFile:
    """Open the model file at `path` over a memory map: no tensor is copied, metadata is parsed.

    With `huge_pages` the file is read into memory of huge pages instead, once (`huge_pages.can_have` says whether
    the system has such); with `read_ahead` a thread fetches a large file's pages meanwhile.

    `path` may be a folder with one model, or the index of a sharded model (`model.safetensors.index.json`);
    a `config.json` beside safetensors becomes `metadata["config"]`.

    Structure is always checked: every count, size and offset against the file. Checksums over whole files
    are checked up to 1 MiB (half a millisecond), since a larger file would be read from end to end before
    its first answer; `verify=True` checks them whatever the size. `ModelFile.checks` says what was done.

    Raises FormatError where the file breaks its format, UnsupportedError for files and features that we
    recognise and do not read, CapacityError for payloads beyond the limits and copies beyond the memory,
    OSError where it cannot be opened.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        from realizar_lambda.formats.folder import find_model

        name = find_model(name)
    data = map_file(name, huge_pages=huge_pages, read_ahead=read_ahead)
    module = READERS.get(bytes(data[:4]))
    if module is None:
        return _open_without_magic(name, data, verify, huge_pages, read_ahead)
    model: ModelFile = _import(module).read(name, data, verify=verify)
    return model


def _import(module: str) -> Any:
    return __import__(f"{__name__}.{module}", fromlist=("read",))


def _open_without_magic(path: str, data: memoryview, verify: bool, huge_pages: bool, read_ahead: bool) -> ModelFile:
    from realizar_lambda.formats import folder, safetensors
    from realizar_lambda.formats.foreign import refuse

    if path.endswith(".index.json"):
        return folder.with_config(
            folder.read_index(path, data, verify=verify, huge_pages=huge_pages, read_ahead=read_ahead)
        )
    fault = refuse(path, data)
    if bytes(data[4:9]) == b"\0\0\0\0{" or (path.endswith(".safetensors") and isinstance(fault, FormatError)):
        return folder.with_config(safetensors.read(path, data, verify=verify))
    raise fault
