"""Extracts the operators that torch-tensorrt converts from the source code in its wheel, without importing it.

`python -m edge_msa_export.torch_tensorrt.wheels WHEEL...` prints the content of `tables.json`. Wheels for any platform
are on PyPI: `pip download --no-deps torch-tensorrt==2.8.0`.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edge_msa_export.errors import ExportError
from edge_msa_export.torch_tensorrt.tables import OperatorTable

_DYNAMO = "torch_tensorrt/dynamo"
_CONVERTERS = tuple(
    f"{_DYNAMO}/conversion/{name}.py"
    for name in ("aten_ops_converters", "prims_ops_converters", "custom_ops_converters", "ops_evaluators")
)
_DECOMPOSITION_GROUPS = f"{_DYNAMO}/lowering/_decomposition_groups.py"
_DECOMPOSITIONS = f"{_DYNAMO}/lowering/_decompositions.py"
_REMOVAL_PASS = f"{_DYNAMO}/lowering/passes/remove_assert_nodes.py"
_SOURCES = (*_CONVERTERS, _DECOMPOSITION_GROUPS, _DECOMPOSITIONS, _REMOVAL_PASS)
_PREFIXES = ("torch.ops.", "torch._ops.")


def extract_operator_table(wheel: Path) -> OperatorTable:
    """Return the operators that the source code in a wheel of torch-tensorrt registers.

    Raises:
        ExportError: the file is not such a wheel, or its source code has another structure.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            sources = {name: archive.read(name).decode("utf-8") for name in _SOURCES}
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise ExportError(f"{wheel} must be a wheel of torch-tensorrt 2.8 or later: {error}.") from error
    name, version, *_ = wheel.name.split("-")
    trees = {path: ast.parse(source) for path, source in sources.items()}
    converters = {
        operator for path in _CONVERTERS for operator in _find_decorated(trees[path], "dynamo_tensorrt_converter")
    }
    lowered = {
        *_find_decorated(trees[_DECOMPOSITIONS], "register_torch_trt_decomposition"),
        *_find_called(trees[_DECOMPOSITIONS], "replace_inplace_op"),
        *_find_compared(trees[_REMOVAL_PASS]),
    }
    enabled = _find_set(trees[_DECOMPOSITION_GROUPS], "torch_enabled_decompositions")
    disabled = _find_set(trees[_DECOMPOSITION_GROUPS], "torch_disabled_decompositions")
    if not (converters and lowered and enabled and disabled):
        raise ExportError(
            f"{wheel}: {name} {version} registers its converters differently from 2.8. Adapt {Path(__file__).name}."
        )
    return OperatorTable(version, *(tuple(sorted(names)) for names in (converters, lowered, enabled, disabled)))


def main() -> None:
    """Print the tables of the wheels on the command line as one JSON object, by version."""
    tables = [extract_operator_table(Path(name)) for name in sys.argv[1:]]
    print(json.dumps({table.version: table.to_json() for table in tables}, indent=1))


def _find_decorated(tree: ast.Module, decorator: str) -> Iterator[str]:
    """Yield the first argument of every decorator with that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for item in node.decorator_list:
                if isinstance(item, ast.Call) and ast.unparse(item.func) == decorator and item.args:
                    yield _format_operator(item.args[0])


def _find_called(tree: ast.Module, function: str) -> Iterator[str]:
    """Yield the first argument of every top-level call of that function."""
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == function:
            yield _format_operator(node.value.args[0])


def _find_compared(tree: ast.Module) -> Iterator[str]:
    """Yield the operators that a pass compares nodes with to remove them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (_format_operator(item) for item in node.comparators if ast.unparse(item).startswith(_PREFIXES))


def _find_set(tree: ast.Module, name: str) -> set[str]:
    """Return the elements of a set that is assigned to a name at the top level."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            return {_format_operator(item) for item in value.elts} if isinstance(value, ast.Set) else set()
    return set()


def _format_operator(expression: ast.expr) -> str:
    """Return an operator as torch prints it: `torch.ops.aten.add.Tensor` becomes `aten.add.Tensor`."""
    text = ast.unparse(expression)
    return next((text.removeprefix(prefix) for prefix in _PREFIXES if text.startswith(prefix)), text)


if __name__ == "__main__":
    main()
