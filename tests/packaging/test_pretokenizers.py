"""The pre-tokenizers that a package holds compiled: the same as those compiled when they are used, and used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from layout import COMPILED, PRETOKENIZERS, compiled_pretokenizers, lay_out_code

from realizar_lambda.kernels.build import default_targets, is_current
from realizar_lambda.tokenizers.pretokenizer import STORED, PreTokenizer, Stage, stored_stages
from realizar_lambda.tokenizers.pretokenizer_table import FAMILIES
from realizar_lambda.tokenizers.stage_compiler import compile_stages

ROOT = Path(__file__).resolve().parent.parent.parent
MAX_BYTES = 200_000

FIRST_TOKENS = """
import sys
import realizar_lambda
llm = realizar_lambda.load(sys.argv[1])
print(llm.generate("It's 9 o'clock, isn't it?  Yes\\n\\n", max_tokens=8, temperature=0.0).text)
loaded = {name.rpartition(".")[2] for name in sys.modules if name.startswith("realizar_lambda.tokenizers.")}
print(*sorted(loaded & {"pattern", "automaton", "unicode_data"}))
"""


@pytest.fixture
def stored(tmp_path: Path) -> str:
    path = tmp_path / "pretokenizers.bin"
    path.write_bytes(compiled_pretokenizers())
    return str(path)


def test_what_is_stored_is_what_is_compiled(stored: str) -> None:
    assert Path(stored).stat().st_size < MAX_BYTES
    found = stored_stages(stored)
    assert found == {FAMILIES[name].stages: compile_stages(FAMILIES[name].stages) for name in COMPILED}


@pytest.mark.parametrize("name", COMPILED)
def test_a_stored_pre_tokenizer_has_the_words_of_a_compiled_one(stored: str, name: str) -> None:
    found, made = PreTokenizer(FAMILIES[name].stages, stored=stored), PreTokenizer(FAMILIES[name].stages, stored="")
    for part in ("class_index", "class_pages", "n_classes", "byte_classes", "n_stages", "tables"):
        assert getattr(found, part) == getattr(made, part), part
    assert [word for word in found.stages if word < 1 << 20] == [word for word in made.stages if word < 1 << 20]


def test_stages_that_are_not_stored_are_compiled(stored: str) -> None:
    stages = (Stage(r"\d+"), *FAMILIES["gpt-2"].stages)
    assert stages not in stored_stages(stored)
    assert PreTokenizer(stages, stored=stored).class_pages == compile_stages(stages)[1]


def test_two_packagings_in_different_processes_store_the_same_bytes() -> None:
    code = "import layout, sys; sys.stdout.buffer.write(layout.compiled_pretokenizers())"
    environments = [{**os.environ, "PYTHONPATH": str(ROOT / "packaging"), "PYTHONHASHSEED": seed} for seed in "12"]
    command = [sys.executable, "-c", code]
    found = {subprocess.run(command, env=env, capture_output=True, check=True).stdout for env in environments}
    assert found == {compiled_pretokenizers()}


def test_a_checkout_has_none_stored() -> None:
    assert stored_stages(STORED) == {}


@pytest.mark.skipif(
    not is_current(ROOT / "realizar_lambda" / "_native", default_targets()),
    reason="no libraries: `make kernels`",
)
def test_a_packaged_function_compiles_no_pattern_and_says_the_same(tmp_path: Path) -> None:
    lay_out_code(tmp_path)
    assert (tmp_path / PRETOKENIZERS).exists()
    command = [sys.executable, "-c", FIRST_TOKENS, str(ROOT / "models" / "stories-q4_k.gguf")]
    packaged, here = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
        for folder in (tmp_path, ROOT)
    )
    assert packaged[:-1] == here[:-1]
    assert (packaged[-1], here[-1]) == ("", "automaton pattern unicode_data")
