from __future__ import annotations

import re
from array import array
from pathlib import Path

import pytest

from realizar_lambda.formats import open_model

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "apr-mlp.md"


def test_the_documented_example_writes_the_model_it_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(DOCUMENT), "exec"), {})
    model = open_model("xor.apr")
    sizes = model.metadata["layer_sizes"]
    weights = []
    for i in range(len(sizes) - 1):
        weight, bias = (model.tensors[f"layers.{i}.{part}"] for part in ("weight", "bias"))
        assert (weight.shape, bias.shape) == ((sizes[i + 1], sizes[i]), (sizes[i + 1],))
        weights.append((array("f", weight.data.tobytes()), array("f", bias.data.tobytes()), sizes[i]))
    for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        values: list[float] = [a, b]
        for number, (weight, bias, n) in enumerate(weights):
            values = [
                shift + sum(w * x for w, x in zip(weight[n * i : n * i + n], values, strict=True))
                for i, shift in enumerate(bias)
            ]
            if number < len(weights) - 1:
                values = [max(value, 0.0) for value in values]
        assert (values[0] > 0) == (a != b)
