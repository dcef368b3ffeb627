"""Which model answers a request that names none. It loads nothing, and opens only what a name cannot tell.

| routes | the default model |
|---|---|
| that classify | REALIZAR_MODEL where it may classify, else `mnist_mlp`, else the only classifier |
| that generate | REALIZAR_MODEL where it generates, else the first that does, in the order of names |

Any model that generates can go on with any text; a classifier takes the features that it was trained on and no
others, so none is picked for a caller where there are several. Classifiers lie in `.apr` files; what lies in any
other generates.
"""

from __future__ import annotations

from realizar_lambda.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.registry import Registry
    from realizar_lambda.serving.settings import Settings

USUAL_CLASSIFIER = "mnist_mlp"


def default_model(kind: str, settings: Settings, registry: Registry) -> str:
    """The name of the default model of a kind, "classify" or "generate".

    Raises RequestError 422 where there is none, and ModelNotFoundError where REALIZAR_MODEL names none.
    """
    configured = settings.default_model
    if configured:
        registry.path(configured)
    names = registry.names()
    found = _classifiers(names, registry) if kind == "classify" else _generators(names, registry, configured)
    if configured in found:
        return configured
    if kind == "classify" and USUAL_CLASSIFIER in found:
        return USUAL_CLASSIFIER
    if len(found) == 1 or (found and kind == "generate"):
        return found[0]
    listed = ", ".join(names) or "none"
    message = f"the field model_id is missing, and no model is the default to {kind}; known models: {listed}"
    raise RequestError(422, message, "model_id")


def main_model(settings: Settings, registry: Registry) -> str:
    """The model that must load before the process is ready: REALIZAR_MODEL, else the default to classify, else
    to generate. Raises as `default_model`."""
    if settings.default_model:
        return settings.default_model
    try:
        return default_model("classify", settings, registry)
    except RequestError:
        return default_model("generate", settings, registry)


def _classifiers(names: tuple[str, ...], registry: Registry) -> list[str]:
    return [name for name in names if registry.path(name).endswith(".apr")]


def _generators(names: tuple[str, ...], registry: Registry, configured: str) -> list[str]:
    """The models that generate; headers of `.apr` files are read only where one of them may be the answer."""
    in_apr = _classifiers(names, registry)
    found = [name for name in names if name not in in_apr]
    if configured in in_apr or not found:
        kinds = {summary["id"]: summary.get("kind") for summary in registry.summaries()}
        found += [name for name in in_apr if kinds.get(name) == "generate"]
    return found
