"""The package as a whole: public names, imports, and compatibility with Python 3.8."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edge_msa_runtime

PACKAGE = Path(edge_msa_runtime.__path__[0])
FILES = sorted(PACKAGE.rglob("*.py"))
LARGE = ("torch", "onnx", "typer", "edge_msa", "edge_msa_export", "edge_msa_calibrate", "onnxruntime", "openvino")
POSIX_ONLY = {"resource", "fcntl", "pwd", "grp", "termios"}


def test_the_public_names_are_pinned() -> None:
    assert edge_msa_runtime.__all__ == [
        "BackendUnavailableError",
        "BuildError",
        "BundleError",
        "CacheError",
        "Conversation",
        "EdgeMsaError",
        "InferenceError",
        "NothingToPredictError",
        "ParityError",
        "Prediction",
        "Session",
        "Stream",
        "StreamCounters",
        "StreamEvent",
        "Subset",
        "UsageError",
        "Word",
        "load",
        "pretrained_bundle",
    ]
    assert all(hasattr(edge_msa_runtime, name) for name in edge_msa_runtime.__all__)
    assert set(edge_msa_runtime.__all__) <= set(dir(edge_msa_runtime))


def test_importing_the_package_imports_no_large_library() -> None:
    code = (
        "import sys, json, edge_msa_runtime, edge_msa_runtime.cli.main, edge_msa_runtime.benchmark.bench;"
        f"print(json.dumps([name for name in {LARGE!r} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_python_3_8_can_parse_every_file(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.skipif(sys.version_info < (3, 9), reason="ast.unparse needs Python 3.9")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_builtin_generics_are_only_in_annotations(path: Path) -> None:
    """Python 3.8 cannot evaluate `list[int]`, but the `__future__` import leaves annotations unevaluated."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    annotations = {id(node) for outer in ast.walk(tree) for node in _annotation_nodes(outer)}
    typing_only = {id(node) for outer in ast.walk(tree) if _is_typing_block(outer) for node in ast.walk(outer)}
    evaluated = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"list", "dict", "tuple", "set", "type"}
        and id(node) not in annotations | typing_only
    ]
    assert evaluated == []
    if annotations:
        assert "from __future__ import annotations" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_posix_modules_are_not_imported_at_module_level(path: Path) -> None:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
        assert not POSIX_ONLY.intersection(names)


def _annotation_nodes(node: ast.AST) -> list[ast.AST]:
    roots = [getattr(node, "returns", None), getattr(node, "annotation", None)]
    return [inner for root in roots if isinstance(root, ast.AST) for inner in ast.walk(root)]


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
