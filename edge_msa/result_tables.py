"""Results that are tables: rows of plain values, which pandas can hold as well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Cell = str | int | float | bool | None
"""A value of a table; None where there is none."""
Row = Mapping[str, Cell]
"""A row of a table: values by column."""


class Table(ABC):
    """A result with rows. `print` shows it as a table for people."""

    @property
    @abstractmethod
    def rows(self) -> tuple[Row, ...]:
        """The rows, with plain values by column."""

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("to_pandas needs pandas. Run: pip install 'edge-msa[pandas]'") from None
        return pd.DataFrame([dict(row) for row in self.rows])
