"""The operators that each version of torch-tensorrt converts, from `tables.json`. `wheels` prints its content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_msa_export.errors import LintError

_FILE = Path(__file__).parent / "tables.json"
# Not operators of a network: they select one of several outputs and are folded before the conversion.
_IGNORED = frozenset({"_operator.getitem", "<built-in function getitem>"})


@dataclass(frozen=True)
class OperatorTable:
    """The operators that one version of torch-tensorrt handles, named as torch names them: `aten.add.Tensor`.

    A name without an overload stands for all of its overloads.

    Attributes:
        version: version of torch-tensorrt.
        converters: operators that it converts to TensorRT.
        lowered: operators that it replaces or removes before the conversion.
        enabled: operators that torch decomposes before the conversion.
        disabled: operators that stay whole although torch could decompose them.
    """

    version: str
    converters: tuple[str, ...]
    lowered: tuple[str, ...]
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]

    def converts(self, operator: str) -> bool:
        """Return whether TensorRT runs an operator. Conditions of individual converters are not considered."""
        return operator in _IGNORED or _contains(self.converters, operator) or _contains(self.lowered, operator)

    def decomposes(self, operator: str, *, composite: bool) -> bool:
        """Return whether an operator is decomposed before the conversion.

        Args:
            operator: name of the operator.
            composite: whether torch implements the operator by others only.
        """
        if _contains(self.disabled, operator) or _contains(self.lowered, operator):
            return False
        return composite or _contains(self.enabled, operator)

    def to_json(self) -> dict[str, tuple[str, ...]]:
        """Return the table as plain JSON values, without its version."""
        return {name: getattr(self, name) for name in ("converters", "lowered", "enabled", "disabled")}


@cache
def load_operator_tables() -> dict[str, OperatorTable]:
    """Load the tables of all known versions."""
    tables = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        version: OperatorTable(version, **{name: tuple(operators) for name, operators in fields.items()})
        for version, fields in tables.items()
    }


def find_operator_table(version: str) -> OperatorTable:
    """Return the table of a version of torch-tensorrt.

    Raises:
        LintError: there is no table for that version.
    """
    tables = load_operator_tables()
    if version not in tables:
        raise LintError(
            f"There is no operator table for torch-tensorrt {version}. Available: {', '.join(tables)}. Add one with "
            "python -m edge_msa_export.torch_tensorrt.wheels."
        )
    return tables[version]


def _contains(names: tuple[str, ...], operator: str) -> bool:
    return operator in names or operator.rpartition(".")[0] in names
