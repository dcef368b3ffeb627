"""realizar-lambda: machine-learning inference for AWS Lambda, with kernels compiled ahead of time from Python.

model = realizar_lambda.load("models/mnist_mlp.apr")
model.predict(pixels)

llm = realizar_lambda.load("models/stories.gguf")
llm.generate("Once upon a time", max_tokens=64).text

Names are looked up when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from realizar_lambda import bundle as _bundle

_bundle.install(__path__[0])

from realizar_lambda.version import __version__  # noqa: E402  # it may lie in the bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from realizar_lambda.classification import Classifier, Prediction
    from realizar_lambda.errors import FormatError, RealizarError, RequestError, UnsupportedError
    from realizar_lambda.generation import Generation
    from realizar_lambda.language_model import LanguageModel
    from realizar_lambda.loading import load

__all__ = [
    "Classifier",
    "FormatError",
    "Generation",
    "LanguageModel",
    "Prediction",
    "RealizarError",
    "RequestError",
    "UnsupportedError",
    "__version__",
    "load",
]

_HOMES = {
    "Classifier": "classification",
    "FormatError": "errors",
    "Generation": "generation",
    "LanguageModel": "language_model",
    "Prediction": "classification",
    "RealizarError": "errors",
    "RequestError": "errors",
    "UnsupportedError": "errors",
    "load": "loading",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(f"{__name__}.{home}", fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
