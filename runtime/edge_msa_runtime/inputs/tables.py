"""Read tables in UTF-8 whose first line names the columns, as spreadsheets write them.

Columns are separated by commas, semicolons, tabs or vertical bars: by the one under which the header has a column that
is needed. If the header has none of them, the file has one column, whose texts may contain them. A file whose name ends
in .gz is compressed.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import gzip
import io
import re
import zlib
from typing import TYPE_CHECKING, Mapping, Sequence

from edge_msa_runtime.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

LINE = "\0line"
"""Key under which a row stores the number of its last line. No column can have this name."""
_MAX_CELL = 1 << 24
_SIMILAR = 0.8
"""Similarity of two names, from 0 to 1, from which on one of them is probably misspelt."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NONE = "\x1f"  # a delimiter for files with one column; cannot be in text
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")

Row = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Table:
    """The content of a table.

    Attributes:
        columns: their names, in lower case.
        rows: cells by column, and the number of the row's last line under `LINE`. Empty rows are left out.
        decimal_comma: whether a comma in a number is a decimal comma, because it does not separate columns.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool

    def find(self, names: Sequence[str]) -> str | None:
        """Return the first of these names that is a column; None if none is."""
        return find_column(self.columns, names)


def load_table(path: Path, needed: Sequence[str], kind: str) -> Table:
    """Return the content of a table.

    Args:
        path: the file.
        needed: names of columns, of which the table must have one.
        kind: what each row has, in the singular, for error messages.

    Raises:
        DataError: the file is not such a table. The message names the delimiter, the columns or the line.
    """
    csv.field_size_limit(_MAX_CELL)
    open_file = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with open_file(path, "rb") as file:
            content = file.read().decode("utf-8-sig")
        skipped = 1 if content[:4].lower() == "sep=" else 0  # Excel writes `sep=;` in the first line
        lines = io.StringIO(content, newline="")
        for _ in range(skipped):
            lines.readline()
        start = lines.tell()
        delimiter, columns = _read_header(lines.readline(), path, needed)
        repeated = next((name for name in columns if name and columns.count(name) > 1), None)
        if repeated is not None:
            raise DataError(f"{path} must have columns of different names, got {repeated!r} twice.")
        lines.seek(start)
        table = csv.DictReader(lines, restval="", delimiter=delimiter)
        _ = table.fieldnames  # reads the header
        table.fieldnames = list(columns)
        rows: list[Row] = []
        for row in table:
            line = table.line_num + skipped
            extra = row.pop(None, None)
            if extra:
                raise DataError(
                    f"{path}, line {line}: a row must have {len(columns)} columns separated by "
                    f"{_DELIMITERS.get(delimiter, delimiter)}, as the header has, got {len(columns) + len(extra)}. "
                    f"Quote texts that contain the delimiter."
                )
            if any(row.values()):
                rows.append({LINE: str(line), **row})
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
        raise DataError(f"Cannot read {path} as {kind}s ({error}). Pass a CSV file in UTF-8.") from None
    if not rows:
        raise DataError(f"{path} must have at least one {kind}, got only the header.")
    return Table(columns, tuple(rows), delimiter != ",")


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first of several names that is a column; None if none is."""
    return next((name for name in names if name in columns), None)


def check_spelling(columns: Sequence[str], known: Sequence[Sequence[str]], path: Path) -> None:
    """Check that no column has almost the name of one that the table lacks: it would be ignored.

    Args:
        columns: the columns of the table.
        known: the names of each column that is used if it is there. Only the first name of each is compared.
        path: the table, for the message.

    Raises:
        DataError: a name is probably misspelt.
    """
    absent = [names[0] for names in known if find_column(columns, names) is None]
    used = {name for names in known for name in names}
    for column in columns:
        close = [] if column in used else difflib.get_close_matches(column, absent, n=1, cutoff=_SIMILAR)
        if close:
            raise DataError(
                f"{path} has a column {column!r}, which is not used. Did you mean {close[0]!r}? Rename or remove it."
            )


def parse_number(cell: str, *, decimal_comma: bool) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: it is no number.
    """
    return float(cell.replace(",", ".") if decimal_comma and _DECIMAL_COMMA.fullmatch(cell) else cell)


def _read_header(line: str, path: Path, needed: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the delimiter and the columns of a header, in lower case."""
    by_delimiter = {delimiter: _parse_header(line, delimiter) for delimiter in (*_DELIMITERS, _NONE)}
    fitting = {delimiter: names for delimiter, names in by_delimiter.items() if find_column(names, needed)}
    if fitting:
        # A header of one column is the same under every delimiter, so none of them separates columns.
        return max(fitting.items(), key=lambda item: (len(item[1]), item[0] == _NONE))
    delimiter, names = max(by_delimiter.items(), key=lambda item: len(item[1]))
    separated = f" (separated by {_DELIMITERS[delimiter]})" if len(names) > 1 else ""
    raise DataError(f"{path} must have a column {needed[0]!r}, got {', '.join(names[:8]) or 'nothing'}{separated}.")


def _parse_header(line: str, delimiter: str) -> tuple[str, ...]:
    names = next(csv.reader([line], delimiter=delimiter), [])
    return tuple(name.strip().lower() for name in names)
