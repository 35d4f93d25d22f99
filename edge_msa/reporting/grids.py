"""Tables of the report whose cells refer to the JSON of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What the cell shows.
        figure: Where the figures contain it, as names and positions that are joined by dots. Empty for names.
        sort: The number that tables are sorted by; None: the text.
        tint: Share of the color in the background, in percent.
    """

    text: str
    figure: str = ""
    sort: float | None = None
    tint: int | None = None


@dataclass(frozen=True)
class Grid:
    """A table whose figures refer to the JSON of the page.

    Attributes:
        caption: Title.
        header: Column titles.
        rows: Cells of each row with its attributes for the script: subset, row number and whether it is highlighted.
        left: Number of leading columns that hold names.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[GridRow]
    left: int = 1


@dataclass(frozen=True)
class GridRow:
    """A row of a `Grid`.

    Attributes:
        cells: The cells.
        id: Id of the element.
        subset: The subset that the row is about, for the filter.
        highlighted: Whether the row is highlighted.
    """

    cells: Sequence[Cell | Markup]
    id: str = ""
    subset: str = ""
    highlighted: bool = False
