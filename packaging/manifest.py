"""The models that a package carries: those that models/manifest.json lists, each with the checksum it gives.

It trains nothing, deletes nothing and reads no model's content.

    python packaging/manifest.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

SUFFIXES = (".apr", ".gguf", ".safetensors")


class ManifestError(Exception):
    """A model differs from its entry, or the manifest says nothing usable: the file, what was found, what is right."""


def verified_models(folder: Path) -> list[Path]:
    """The listed model files of `folder`, in the order of their names. Raises ManifestError.

    A model file that is not listed is no part of a package: it may be half trained.
    """
    path = folder / "manifest.json"
    try:
        entries = json.loads(path.read_bytes())["models"]
        listed = {name: (entry["file"], entry["sha256"]) for name, entry in entries.items()}
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} must map each model to its file and sha256: {error!r}") from error
    found = []
    for name, (file, expected) in sorted(listed.items()):
        if not isinstance(file, str) or file in ("", ".", "..") or "/" in file:
            raise ManifestError(f"{path}: the file of {name!r} must be a name in this folder, got {file!r}")
        found.append(_verified(folder / file, expected))
    return found


def unlisted_models(folder: Path) -> list[Path]:
    """The model files of `folder` that the manifest does not list."""
    listed = set(verified_models(folder))
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path not in listed)


def _verified(path: Path, expected: object) -> Path:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; manifest.json lists it") from error
    if found != expected:
        raise ManifestError(f"{path} has the sha256 {found}, manifest.json says {expected}")
    return path


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0] if arguments else "models")
    try:
        models = verified_models(folder)
        left_out = unlisted_models(folder)
    except ManifestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{len(models)} models in {folder}, each as manifest.json says")
    for path in left_out:
        print(f"left out: {path}, which manifest.json does not list", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
