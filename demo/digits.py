"""The digits that the repository carries, as values. They do not know who classifies them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

FIXTURE = Path(__file__).with_name("mnist_digits.json")


@dataclass(frozen=True, slots=True)
class Digit:
    """One image: `pixels` (height * width,) u8, row by row, 0 is paper; `index` its place in the test set."""

    index: int
    label: int
    height: int
    width: int
    pixels: bytes


def read_digits(path: Path = FIXTURE) -> list[Digit]:
    """Every digit of the fixture. Raises ValueError where an image has the wrong size."""
    content = json.loads(path.read_text())
    height, width = content["height"], content["width"]
    digits = []
    for item in content["digits"]:
        pixels = base64.b64decode(item["pixels"], validate=True)
        if len(pixels) != height * width:
            raise ValueError(f"image {item['index']} has {len(pixels)} pixels, the fixture says {height * width}")
        digits.append(Digit(item["index"], item["label"], height, width, pixels))
    return digits
