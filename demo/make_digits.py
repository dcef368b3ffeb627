"""Makes `mnist_digits.json`: ten images of the MNIST test set, one of each class. It does not judge them.

    python -m demo.make_digits FOLDER_WITH_THE_IDX_FILES

The images are the first of each class, so nobody picked them by their looks.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import struct
from pathlib import Path

N_CLASSES = 10
IMAGES = "t10k-images-idx3-ubyte.gz"
LABELS = "t10k-labels-idx1-ubyte.gz"
OUTPUT = Path(__file__).with_name("mnist_digits.json")


def read_idx(path: Path, n_dimensions: int) -> tuple[tuple[int, ...], bytes]:
    """(shape, bytes) of a gzipped idx file of u8. Raises ValueError for anything else."""
    content = gzip.decompress(path.read_bytes())
    magic = bytes([0, 0, 8, n_dimensions])
    if content[:4] != magic:
        raise ValueError(f"{path.name} starts with {content[:4]!r}, an idx file of u8 with {magic!r}")
    n_header = 4 + 4 * n_dimensions
    return struct.unpack_from(f">{n_dimensions}I", content, 4), content[n_header:]


def digits(folder: Path) -> dict[str, object]:
    """The fixture's content, from the folder's idx files."""
    (n_images, height, width), pixels = read_idx(folder / IMAGES, 3)
    _, labels = read_idx(folder / LABELS, 1)
    size = height * width
    chosen = [next(i for i in range(n_images) if labels[i] == label) for label in range(N_CLASSES)]
    return {
        "source": f"MNIST test set ({IMAGES}), the first image of each class",
        "source_sha256": hashlib.sha256((folder / IMAGES).read_bytes()).hexdigest(),
        "height": height,
        "width": width,
        "digits": [
            {
                "index": i,
                "label": labels[i],
                "pixels": base64.b64encode(pixels[i * size : (i + 1) * size]).decode(),
            }
            for i in chosen
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help=f"where {IMAGES} and {LABELS} lie")
    OUTPUT.write_text(json.dumps(digits(parser.parse_args().folder), indent=1) + "\n")
    print(f"wrote {OUTPUT.name}, {OUTPUT.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
