"""Which operators a torch-tensorrt converts, read from the source inside its wheel; nothing of it is imported.

`python -m edge_msa_export.torch_tensorrt.wheels WHEEL...` prints what `tables.json` holds. Wheels come from
PyPI, for any platform: `pip download --no-deps torch-tensorrt==2.8.0`.
"""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from edge_msa_export.errors import ExportError
from edge_msa_export.torch_tensorrt.tables import Table

_DYNAMO = "torch_tensorrt/dynamo"
_CONVERTERS = tuple(
    f"{_DYNAMO}/conversion/{name}.py"
    for name in ("aten_ops_converters", "prims_ops_converters", "custom_ops_converters", "ops_evaluators")
)
_GROUPS = f"{_DYNAMO}/lowering/_decomposition_groups.py"
_LOWERINGS = f"{_DYNAMO}/lowering/_decompositions.py"
_REMOVALS = f"{_DYNAMO}/lowering/passes/remove_assert_nodes.py"
_SOURCES = (*_CONVERTERS, _GROUPS, _LOWERINGS, _REMOVALS)
_PREFIXES = ("torch.ops.", "torch._ops.")


def table_of_wheel(wheel: Path) -> Table:
    """What a wheel of torch-tensorrt registers.

    Raises:
        ExportError: it is none, or its source is laid out in another way.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            sources = {name: archive.read(name).decode("utf-8") for name in _SOURCES}
    except (OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
        raise ExportError(f"{wheel} is no wheel of torch-tensorrt 2.8 or later: {error}") from error
    name, version, *_ = wheel.name.split("-")
    trees = {name: ast.parse(source) for name, source in sources.items()}
    converters = {target for path in _CONVERTERS for target in _decorated(trees[path], "dynamo_tensorrt_converter")}
    lowered = {
        *_decorated(trees[_LOWERINGS], "register_torch_trt_decomposition"),
        *_called(trees[_LOWERINGS], "replace_inplace_op"),
        *_compared(trees[_REMOVALS]),
    }
    enabled = _assigned(trees[_GROUPS], "torch_enabled_decompositions")
    disabled = _assigned(trees[_GROUPS], "torch_disabled_decompositions")
    if not (converters and lowered and enabled and disabled):
        raise ExportError(f"{wheel}: {name} registers its converters in another way than 2.8 does; look at its source")
    return Table(version, *(tuple(sorted(found)) for found in (converters, lowered, enabled, disabled)))


def main() -> None:
    """Print the tables of the wheels that the command line names, as one JSON object by version."""
    tables = [table_of_wheel(Path(name)) for name in sys.argv[1:]]
    print(json.dumps({table.version: table.to_json() for table in tables}, indent=1))


def _decorated(tree: ast.Module, decorator: str) -> Iterator[str]:
    """The first argument of every decorator of that name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for item in node.decorator_list:
                if isinstance(item, ast.Call) and ast.unparse(item.func) == decorator and item.args:
                    yield _short(item.args[0])


def _called(tree: ast.Module, function: str) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == function:
            yield _short(node.value.args[0])


def _compared(tree: ast.Module) -> Iterator[str]:
    """What a pass attention maps for, to take it out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (_short(item) for item in node.comparators if ast.unparse(item).startswith(_PREFIXES))


def _assigned(tree: ast.Module, name: str) -> set[str]:
    """The elements of a set that is assigned to a name, at the top."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = getattr(node, "value", None)
            return {_short(item) for item in value.elts} if isinstance(value, ast.Set) else set()
    return set()


def _short(expression: ast.expr) -> str:
    """`torch.ops.aten.add.Tensor` as torch itself writes it, `aten.add.Tensor`."""
    text = ast.unparse(expression)
    return next((text.removeprefix(prefix) for prefix in _PREFIXES if text.startswith(prefix)), text)


if __name__ == "__main__":
    main()
