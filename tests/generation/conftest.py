"""stories260K, loaded once; contexts are forgotten before every test."""

from __future__ import annotations

import json

import pytest

from realizar_lambda.language_model import LanguageModel


@pytest.fixture(scope="session")
def stories(data_dir):
    """The folder of stories260K in its formats."""
    return data_dir / "models" / "stories260K" / "derived"


@pytest.fixture(scope="session")
def cases(stories):
    """The stored greedy generations."""
    return json.loads((stories / "stories260K.reference.json").read_text())["cases"]


@pytest.fixture(scope="session")
def loaded(stories):
    return LanguageModel.open(str(stories / "stories260K-f32.gguf"), n_threads=1)


@pytest.fixture
def llm(loaded):
    """stories260K in F32, with nothing kept from another test."""
    loaded.contexts.clear()
    return loaded


@pytest.fixture(scope="session")
def quantised(stories):
    """stories260K in Q5_1, whose keys and values are f16."""
    return LanguageModel.open(str(stories / "stories260K-q5_1.gguf"), n_threads=1)
