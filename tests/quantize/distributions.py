"""What weights look like, and what they rarely do: arrays (n, 256) f32 by name."""

from __future__ import annotations

import numpy as np


def distributions(real):
    """`real` (n, 256) f32 are rows of a trained model; the others are drawn, always the same."""
    rng = np.random.default_rng(1)
    shape = (64, 256)
    by_name = {
        "real": real,
        "gaussian": rng.standard_normal(shape),
        "heavy tails": rng.standard_t(3, shape),
        "off centre": rng.standard_normal(shape) + 1,
        "positive": np.abs(rng.standard_normal(shape)),
        "even": rng.uniform(-1, 1, shape),
        "sparse": rng.standard_normal(shape) * (rng.uniform(size=shape) < 0.1),
        "rows of different size": rng.standard_normal(shape) * np.exp(rng.standard_normal((64, 1))),
    }
    return {name: rows.astype(np.float32) for name, rows in by_name.items()}
