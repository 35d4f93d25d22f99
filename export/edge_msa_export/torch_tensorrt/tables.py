"""What each torch-tensorrt converts: tables that `torch_tensorrt_wheels.py` read from its wheels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edge_msa_export.errors import LintError

_FILE = Path(__file__).parent / "tables.json"
# Not operators of a network: they take one output of several, or are folded before conversion.
_PASSED_OVER = frozenset({"_operator.getitem", "<built-in function getitem>"})


@dataclass(frozen=True)
class Table:
    """Of one version, operators as torch writes them, `aten.add.Tensor`, without an overload for all of them.

    `converters` have a converter to TensorRT. Before it converts, torch-tensorrt replaces or takes out what is
    `lowered`, and torch decomposes what is `enabled`; `disabled` are kept whole although torch would decompose them.
    """

    version: str
    converters: tuple[str, ...]
    lowered: tuple[str, ...]
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]

    def converts(self, operator: str) -> bool:
        """Whether an operator gets to TensorRT; the conditions that some converters have are not looked at."""
        return operator in _PASSED_OVER or _named(operator, self.converters) or _named(operator, self.lowered)

    def decomposes(self, operator: str, *, composite: bool) -> bool:
        """Whether an operator is decomposed before; `composite`: it is nothing but a composition of others."""
        if _named(operator, self.disabled) or _named(operator, self.lowered):
            return False
        return composite or _named(operator, self.enabled)

    def to_json(self) -> dict[str, tuple[str, ...]]:
        """The table as plain JSON values, without its version."""
        return {name: getattr(self, name) for name in ("converters", "lowered", "enabled", "disabled")}


@cache
def known_tables() -> dict[str, Table]:
    """Every table by its version."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        version: Table(version, **{name: tuple(items) for name, items in lists.items()})
        for version, lists in found.items()
    }


def table_of(version: str) -> Table:
    """The table of a version of torch-tensorrt.

    Raises:
        LintError: there is none.
    """
    tables = known_tables()
    if version not in tables:
        raise LintError(
            f"nothing is known of the converters of torch-tensorrt {version}, only of {', '.join(tables)}: "
            "see edge_msa_export/torch_tensorrt_wheels.py"
        )
    return tables[version]


def _named(operator: str, names: tuple[str, ...]) -> bool:
    return operator in names or operator.rpartition(".")[0] in names
