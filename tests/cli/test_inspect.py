from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from realizar_lambda import cli
from realizar_lambda.cli.inspect import describe, report
from realizar_lambda.formats import apr_v1, apr_v2, open_model


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "mlp.apr"
    tensors = {f"layers.{n}.weight": ((2, 32), "Q8_0", bytes(68)) for n in range(30)}
    tensors["layers.0.bias"] = ((2,), "F32", bytes(8))
    metadata = {
        "name": "digits\x1b[31m",
        "layer_sizes": [784, 128, 10],
        "labels": [str(n) for n in range(1200)],
        "normalization": {"scale": 1 / 255},
        "license": None,
        "quotes": ['"', "a\\b"],
        "chat_template": "x" * 500,
    }
    apr_v2.write(path, tensors, metadata)
    return path


def test_the_report_shows_everything_at_a_glance(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", str(model_path), "--tensors", "2"]) == 0
    text = capsys.readouterr().out
    assert (
        text
        == f"""{model_path}
  format      apr-v2
  size        {model_path.stat().st_size / 1024:.1f} KiB ({model_path.stat().st_size:,} bytes)
  tensors     31 (30 Q8_0, 1 F32)
  parameters  1,922 in 2.0 KiB, 8.52 bits each

Checks
  header checksum  ok
  footer checksum  ok

Metadata
  name           digits\\x1b[31m
  layer_sizes    [784, 128, 10]
  labels         ["0", "1", "2", "3", "4", "5", … 1,200 in all]
  normalization  {{scale: 0.003921569}}
  license        null
  quotes         ["\\"", "a\\\\b"]
  chat_template  {"x" * 71}… (500 characters)

Tensors
  name             shape   type  size  offset
  layers.0.bias    2       F32    8 B   9,664
  layers.0.weight  2 x 32  Q8_0  68 B   9,728
  … and 29 more (--tensors all)
"""
    )


def test_the_number_of_tensors_shown_is_the_callers(model_path: Path) -> None:
    model = open_model(model_path)
    assert len(report(model, max_tensors=1 << 62)) - len(report(model, max_tensors=0)) == 31 + 3
    assert len(report(model, max_tensors=30)) - len(report(model, max_tensors=29)) == 1


def test_json_has_every_tensor_and_cuts_long_arrays(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "--json", str(model_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["format"] == "apr-v2"
    assert shown["n_tensors"] == len(shown["tensors"]) == 31
    assert shown["checks"] == {"header checksum": "ok", "footer checksum": "ok"}
    assert shown["tensors"][0] == {
        "name": "layers.0.bias",
        "shape": [2],
        "type": "F32",
        "n_bytes": 8,
        "offset": open_model(model_path).tensors["layers.0.bias"].offset,
    }
    assert shown["metadata"]["labels"] == {"n_items": 1200, "first": ["0", "1", "2", "3", "4", "5"]}
    assert shown["metadata"]["layer_sizes"] == [784, 128, 10]


def test_values_that_json_has_not_are_shown_as_text(tmp_path: Path) -> None:
    apr_v1.write_logistic(tmp_path / "m.apr", [1.0], 0.0, {"custom": {"limit": math.inf, "worst": [math.nan]}})
    shown = describe(open_model(tmp_path / "m.apr"), max_tensors=9)
    assert json.dumps(shown, allow_nan=False)
    assert shown["metadata"]["custom"] == {"limit": "inf", "worst": ["nan"]}


def test_verify_checks_a_large_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apr_v2.write(tmp_path / "m.apr", {"t": ((2 << 20,), "U8", bytes(2 << 20))}, {})
    assert cli.main(["inspect", str(tmp_path / "m.apr")]) == 0
    assert "footer checksum  not checked" in capsys.readouterr().out
    assert cli.main(["inspect", "--verify", str(tmp_path / "m.apr")]) == 0
    assert "footer checksum  ok" in capsys.readouterr().out
