"""Which model answers a request that names none, by kind of route, and which one readiness waits for."""

from __future__ import annotations

import json

import pytest
from serving.fake_models import load_fake

from realizar_lambda.errors import ModelNotFoundError, RequestError
from realizar_lambda.registry import Registry
from realizar_lambda.serving.application import Application
from realizar_lambda.serving.default_models import default_model, main_model
from realizar_lambda.serving.http import Request
from realizar_lambda.serving.settings import Settings

KINDS_IN_APR = {"decoder.apr": "generate"}


def make(tmp_path, files, configured="", summarised=None):
    """Settings and a registry over empty files; `summarised` collects the files whose headers were asked for."""
    for file in files:
        (tmp_path / file).write_bytes(b"1")

    def summarise(path):
        file = path.rpartition("/")[2]
        if summarised is not None:
            summarised.append(file)
        return {"kind": KINDS_IN_APR.get(file, "classify" if file.endswith(".apr") else "generate")}

    return Settings(default_model=configured), Registry(str(tmp_path), load=load_fake, summarise=summarise)


USUAL = ("iris.apr", "mnist_mlp.apr", "stories.gguf", "stories-q4_k.gguf")


@pytest.mark.parametrize(
    ("files", "configured", "classify", "generate"),
    [
        (USUAL, "", "mnist_mlp", "stories"),
        (USUAL, "iris", "iris", "stories"),
        (USUAL, "stories-q4_k", "mnist_mlp", "stories-q4_k"),
        (("iris.apr",), "", "iris", None),
        (("iris.apr", "wine.apr"), "", None, None),
        (("iris.apr", "wine.apr"), "wine", "wine", None),
        (("b.gguf", "a.safetensors"), "", None, "a"),
        (("iris.apr", "b.gguf"), "", "iris", "b"),
        (("iris.apr", "decoder.apr"), "", None, "decoder"),
        (("iris.apr", "decoder.apr", "b.gguf"), "decoder", "decoder", "decoder"),
        ((), "", None, None),
    ],
)
def test_each_kind_of_route_has_its_own_default(tmp_path, files, configured, classify, generate):
    settings, registry = make(tmp_path, files, configured)
    for kind, expected in (("classify", classify), ("generate", generate)):
        if expected is not None:
            assert default_model(kind, settings, registry) == expected
            continue
        with pytest.raises(RequestError, match=f"model_id is missing, and no model is the default to {kind}") as caught:
            default_model(kind, settings, registry)
        assert (caught.value.status, caught.value.field) == (422, "model_id")


def test_no_header_is_read_where_the_names_tell(tmp_path):
    summarised: list[str] = []
    for configured in ("", "stories", "stories-q4_k"):
        settings, registry = make(tmp_path, USUAL, configured, summarised)
        default_model("classify", settings, registry)
        default_model("generate", settings, registry)
    assert summarised == []


@pytest.mark.parametrize("kind", ["classify", "generate"])
def test_a_configured_model_that_is_not_there_is_named_and_not_replaced(tmp_path, kind):
    settings, registry = make(tmp_path, USUAL, "missing")
    with pytest.raises(ModelNotFoundError, match="no model is named 'missing'"):
        default_model(kind, settings, registry)
    (tmp_path / "missing.gguf").write_bytes(b"1")
    assert default_model("generate", settings, registry) == "missing"


@pytest.mark.parametrize(
    ("files", "configured", "expected"),
    [
        (USUAL, "", "mnist_mlp"),
        (USUAL, "stories", "stories"),
        (("a.gguf", "b.gguf"), "", "a"),
        (("iris.apr", "wine.apr", "a.gguf"), "", "a"),
    ],
)
def test_readiness_waits_for_one_model(tmp_path, files, configured, expected):
    settings, registry = make(tmp_path, files, configured)
    assert main_model(settings, registry) == expected


@pytest.mark.parametrize(("path", "expected"), [("/predict", ["mnist_mlp"]), ("/generate", ["story"])])
def test_warming_a_route_loads_the_default_of_its_kind(tmp_path, path, expected):
    settings, registry = make(tmp_path, ("mnist_mlp.apr", "story.gguf"))
    application = Application(settings, registry, log=lambda line: None)
    application.warm("POST", path)
    assert registry.loaded_names() == expected


def test_a_request_without_a_default_is_told_to_name_its_model(tmp_path):
    settings, registry = make(tmp_path, ("iris.apr", "wine.apr"))
    application = Application(settings, registry, log=lambda line: None)
    response = application.respond(Request("POST", "/predict", body='{"features": [1, 2, 3]}'))
    assert response.status == 422
    assert json.loads(response.body)["error"] == (
        "the field model_id is missing, and no model is the default to classify; known models: iris, wine"
    )
