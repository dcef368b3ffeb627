"""What a stored result says of the CPU that it was measured on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.machine import cpu
from realizar_lambda.native import ISAS


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names an x86_64 library")
@pytest.mark.parametrize("isa", [name for name, _ in ISAS["x86_64"]])
def test_processors_of_one_name_are_told_apart_by_family_model_and_library(tmp_path: Path, isa: str) -> None:
    flags = " ".join(dict(ISAS["x86_64"])[name] for name in dict(ISAS["x86_64"]) if name <= isa)
    one = f"model\t\t: 17\nmodel name\t: Some CPU\ncpu family\t: 25\nflags\t\t: fpu {flags}\n\n"
    (tmp_path / "cpuinfo").write_text(one + one.replace("17", "18"))
    assert cpu(str(tmp_path / "cpuinfo")) == f"Some CPU (family 25, model 17, {isa})"


def test_a_cpu_without_family_has_its_part_alone(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nCPU part\t: 0xd0c\n")
    assert cpu(str(tmp_path / "cpuinfo")) == "0xd0c"
