"""From a path or a name to a loaded model: which class answers for a file. It keeps nothing.

The registry keeps models by name; this is what it calls, and what `realizar_lambda.load` is.
"""

from __future__ import annotations

import os

from realizar_lambda.errors import ModelNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from realizar_lambda.classification import Classifier
    from realizar_lambda.language_model import LanguageModel

SUFFIXES = (".apr", ".gguf", ".safetensors")


def models_folder(environ: Mapping[str, str]) -> str:
    """Where named models lie: REALIZAR_MODELS_DIR, else `models` in the Lambda task root or beside the package."""
    configured = environ.get("REALIZAR_MODELS_DIR")
    if configured:
        return configured
    beside = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for root in (environ.get("LAMBDA_TASK_ROOT"), beside):
        if root and os.path.isdir(os.path.join(root, "models")):
            return os.path.join(root, "models")
    return os.path.join(beside, "models")


def load(path_or_name: str | os.PathLike[str], *, huge_pages: bool = False) -> Classifier | LanguageModel:
    """Load a model from a file's path, or by the name (the file's stem) of one in the models folder.

    With `huge_pages` the file is read into memory of huge pages once, and not mapped: a copy that takes its size in
    memory, and that a CPU reads faster. Where the system has none a RuntimeWarning says why, and the file is mapped.

    Raises ModelNotFoundError where neither exists, FormatError and UnsupportedError for files that cannot be used,
    and CapacityError for a copy that the memory has no room for.
    """
    if huge_pages:
        from realizar_lambda.formats.huge_pages import can_have, warn

        huge_pages = can_have(warn)
    return load_file(_path(os.fspath(path_or_name)), huge_pages=huge_pages)


def load_file(path: str, *, huge_pages: bool = False) -> Classifier | LanguageModel:
    """Load the model in the file at `path`; whether there are huge pages was asked before."""
    from realizar_lambda.formats import open_model

    file = open_model(path, huge_pages=huge_pages, read_ahead=True)
    name = path.rstrip("/").rpartition("/")[2].partition(".")[0]
    if file.format.startswith("apr"):
        from realizar_lambda.classification import Classifier

        return Classifier(file, name=name)
    from realizar_lambda.language_model import LanguageModel

    return LanguageModel(file, name=name)


def _path(wanted: str) -> str:
    if os.path.exists(wanted) or "/" in wanted:
        return wanted
    folder = models_folder(os.environ)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for suffix in ("", *SUFFIXES):
        if wanted + suffix in names:
            return os.path.join(folder, wanted + suffix)
    known = [name.rpartition(".")[0] for name in names if name.endswith(SUFFIXES)]
    raise ModelNotFoundError(wanted, known)
