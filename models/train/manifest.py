"""`models/manifest.json`: what each checked-in model file is, where it came from and what it reaches."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "manifest.json"


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries by model name; none where there is no manifest yet."""
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    entries: dict[str, dict[str, Any]] = json.loads(path.read_text())["models"]
    return entries


def record(folder: Path, name: str, entry: dict[str, Any]) -> None:
    """Put `entry` in place of the model's old one; entries stay sorted by name."""
    entries = read(folder) | {name: entry}
    document = {"manifest_version": 1, "models": dict(sorted(entries.items()))}
    (folder / FILE_NAME).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def identity(path: Path) -> dict[str, Any]:
    """What identifies a file: its name, its sha256, its size in bytes."""
    content = path.read_bytes()
    return {"file": path.name, "sha256": hashlib.sha256(content).hexdigest(), "n_bytes": len(content)}
