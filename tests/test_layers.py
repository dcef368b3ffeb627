"""The layer rule over the source itself: imports point down, and the cold path imports nothing heavy.

Function-level imports count. What stands under `if TYPE_CHECKING:` does not: it never runs.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "realizar_lambda"

LAYERS = {
    **dict.fromkeys(("bundle", "errors", "blocks", "json_codec", "record", "tensor", "ops", "version"), 0),
    **dict.fromkeys(("calling", "native", "formats", "tokenizers"), 1),
    **dict.fromkeys(("architectures", "builder", "chat", "program", "sampling", "session"), 2),
    **dict.fromkeys(("generation", "classification", "language_model", "loading"), 3),
    "registry": 4,
    "serving": 5,
    "cli": 6,
}
BUILD_TIME = ("kernels", "quantize")  # not imported by what serves, but for the exceptions below
EXCEPTIONS = {
    ("native.py", "kernels"): "a source checkout builds its library on first use",
}

HEAVY = {
    "asyncio",
    "boto3",
    "concurrent",
    "dataclasses",
    "hashlib",
    "http",
    "inspect",
    "llvmlite",
    "numba",
    "numpy",
    "pathlib",
    "typing",
    "urllib",
}
NEVER = {"numba", "llvmlite", "numpy"}  # not even inside a function of the cold path

FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
SERVING_FILES = [path for path in FILES if path.parts[0] not in (*BUILD_TIME, "cli", "__init__.py", "__main__.py")]


def unit_of(path: Path) -> str:
    """The first folder of a file in the package, or the file itself without its suffix."""
    return path.parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """`(module, is at the top of the file)` of every import that runs."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    found = []

    def walk(nodes, is_top: bool) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.extend((alias.name, is_top) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                if node.module == "realizar_lambda":
                    found.extend((f"realizar_lambda.{alias.name}", is_top) for alias in node.names)
                else:
                    found.append((node.module or "", is_top))
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                walk(node.orelse, is_top)
            else:
                inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                walk(ast.iter_child_nodes(node), is_top and not inside)

    walk(tree.body, True)
    return found


@pytest.mark.parametrize("path", SERVING_FILES, ids=str)
def test_imports_point_down_or_stay_in_their_layer(path):
    unit = unit_of(path)
    assert unit in LAYERS, f"{unit} is in no layer: give it one in this file's table"
    for module, _ in imports_of(path):
        parts = module.split(".")
        if parts[0] != "realizar_lambda" or len(parts) == 1:
            continue
        if (str(path), parts[1]) in EXCEPTIONS:
            continue
        assert parts[1] not in BUILD_TIME, f"{path} imports {module}, which exists at build time only"
        assert LAYERS[parts[1]] <= LAYERS[unit], f"{path} (layer {LAYERS[unit]}) imports {module} from above it"


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] in BUILD_TIME], ids=str)
def test_build_time_code_imports_nothing_that_serves(path):
    for module, _ in imports_of(path):
        parts = module.split(".")
        if parts[0] == "realizar_lambda" and len(parts) > 1 and parts[1] not in BUILD_TIME:
            assert LAYERS[parts[1]] <= 1, f"{path} imports {module}"


@pytest.mark.parametrize("path", SERVING_FILES, ids=str)
def test_the_cold_path_imports_nothing_heavy_at_the_top_of_a_file(path):
    for module, is_top in imports_of(path):
        root = module.partition(".")[0]
        assert not (is_top and root in HEAVY), f"{path} imports {module} at its top"
        assert root not in NEVER, f"{path} imports {module}"
