"""Named models: from a name to a loaded model, least recently used out first. It knows no request.

A model's name is its file's stem (`mnist_mlp` of `mnist_mlp.apr`), or the name of the folder that holds it with
a `config.json`, as Hugging Face has them. The models folder is scanned when the first name is
asked for, and again for a name that it does not have, so a file that is added is found. Where two files
share a stem the second is named by its whole file name; given paths come before the folder's.
"""

from __future__ import annotations

import os
from _thread import RLock

from realizar_lambda.errors import CapacityError, FormatError, ModelNotFoundError, UnsupportedError
from realizar_lambda.loading import SUFFIXES, load_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from realizar_lambda.errors import RealizarError
    from realizar_lambda.formats.model_file import ModelFile


class LoadedModel:
    """A model in use: its name, the object that answers, the bytes it counts as, and its version: the metadata's
    `version`, else the file's checksum, else None."""

    __slots__ = ("model", "n_bytes", "name", "version")

    def __init__(self, name: str, model: Any, n_bytes: int, version: str | None) -> None:
        self.name = name
        self.model = model
        self.n_bytes = n_bytes
        self.version = version


class Registry:
    """The models of a folder and of given paths. Safe to call from several threads.

    `load(path)` opens a model and `summarise(path)` reads its header; `max_bytes` bounds the sizes of the
    files that are held open together, None for no bound. With `huge_pages` files are not mapped but read into such,
    and count as whole ones. A model in use stays alive when it is evicted: its memory goes when its last user does.
    """

    def __init__(
        self,
        folder: str | None = None,
        *,
        paths: Iterable[str] = (),
        load: Callable[..., Any] = load_file,
        summarise: Callable[[str], dict[str, Any]] | None = None,
        max_bytes: int | None = None,
        huge_pages: bool = False,
    ) -> None:
        self._folder = folder
        self._given = tuple(paths)
        self._load = load
        self._summarise = summarise
        self._max_bytes = max_bytes
        self._options = {"huge_pages": True} if huge_pages else {}
        self._lock = RLock()
        self._paths: dict[str, str] | None = None
        self._loaded: dict[str, LoadedModel] = {}  # in the order of last use
        self._summaries: dict[tuple[str, int, int], dict[str, Any]] = {}

    def names(self) -> tuple[str, ...]:
        """Every name, sorted; nothing is opened."""
        return tuple(sorted(self._scanned()))

    def loaded_names(self) -> list[str]:
        with self._lock:
            return sorted(self._loaded)

    def path(self, name: str) -> str:
        """Where the model lies. Raises ModelNotFoundError."""
        found = self._scanned().get(name)
        if found is None:
            with self._lock:
                self._paths = self._scan()
                found = self._paths.get(name)
        if found is None:
            raise ModelNotFoundError(name if len(name) <= 100 else name[:97] + "...", self.names())
        return found

    def get(self, name: str) -> LoadedModel:
        """The loaded model of this name, loading it where it is not.

        Raises ModelNotFoundError, CapacityError where it alone is over `max_bytes`, and what `load` raises.
        """
        with self._lock:
            loaded = self._loaded.pop(name, None)
            if loaded is None:
                path = self.path(name)
                try:
                    n_bytes = self._held_bytes(path)
                except FileNotFoundError:
                    self._paths = self._scan()
                    raise ModelNotFoundError(name, self._paths) from None
                self._make_room(name, n_bytes)
                try:
                    model = self._load(path, **self._options)
                except (FormatError, UnsupportedError) as error:
                    raise without_folder(error, path) from error
                loaded = LoadedModel(name, model, n_bytes, _version_of(model.model_file))
            self._loaded[name] = loaded
            return loaded

    def summaries(self) -> list[dict[str, Any]]:
        """One summary per model, in the order of names, read from headers and kept until a file changes."""
        from realizar_lambda.registry.summary import summarise_file

        summarise = self._summarise or summarise_file
        with self._lock:
            self._paths = self._scan()
            found = []
            for name, path in sorted(self._paths.items()):
                try:
                    key = (path, size_of(path), os.stat(path).st_mtime_ns)
                except FileNotFoundError:
                    continue
                if key not in self._summaries:
                    self._summaries[key] = summarise(path)
                found.append({"id": name, **self._summaries[key], "loaded": name in self._loaded})
            return found

    def _held_bytes(self, path: str) -> int:
        n_bytes = size_of(path)
        if not self._options:
            return n_bytes
        from realizar_lambda.formats.huge_pages import held_bytes

        return held_bytes(n_bytes)

    def _make_room(self, name: str, n_bytes: int) -> None:
        if self._max_bytes is None:
            return
        if n_bytes > self._max_bytes:
            raise CapacityError(f"model {name!r}", n_bytes, self._max_bytes)
        n_held = sum(held.n_bytes for held in self._loaded.values())
        while n_held + n_bytes > self._max_bytes:
            oldest = next(iter(self._loaded))
            n_held -= self._loaded.pop(oldest).n_bytes

    def _scanned(self) -> dict[str, str]:
        with self._lock:
            if self._paths is None:
                self._paths = self._scan()
            return self._paths

    def _scan(self) -> dict[str, str]:
        files = list(self._given)
        if self._folder is not None and os.path.isdir(self._folder):
            entries = sorted(os.listdir(self._folder))
            files += [path for entry in entries if _is_model(path := os.path.join(self._folder, entry))]
        paths: dict[str, str] = {}
        for path in files:
            file = os.path.basename(path.rstrip("/"))
            stem = file.removesuffix(next(filter(file.endswith, SUFFIXES), ""))
            paths[file if stem in paths else stem] = path
        return paths


def size_of(path: str) -> int:
    """Bytes of a model file, or of the files in a model's folder. Raises FileNotFoundError."""
    if os.path.isdir(path):
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return os.stat(path).st_size


def _is_model(path: str) -> bool:
    """A file of one of our suffixes, or a folder as Hugging Face has them."""
    return path.endswith(SUFFIXES) or os.path.exists(os.path.join(path, "config.json"))


def without_folder(error: RealizarError, path: str) -> RealizarError:
    """`error` as a caller may read it: it names the file and not where this machine keeps it."""
    file = os.path.basename(path)
    if isinstance(error, FormatError):
        return FormatError(file, error.offset, error.message.replace(path, file))
    if isinstance(error, UnsupportedError):
        return UnsupportedError(error.what.replace(path, file), error.supported)
    return error


def _version_of(model_file: ModelFile) -> str | None:
    for key in ("version", "general.version"):
        stated = model_file.metadata.get(key)
        if isinstance(stated, str) and stated:
            return stated
    checks = model_file.checks
    has_crc = checks.get("checksum", checks.get("footer checksum", "absent")) != "absent"
    if has_crc and "compression" not in checks:  # the last four bytes are the CRC-32 of all before them
        return bytes(memoryview(model_file.buffer)[-4:])[::-1].hex()  # type: ignore[arg-type]
    return None
