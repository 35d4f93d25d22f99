"""Plain text tables for terminals and files.

A table that is wider than the terminal is changed until it fits: the header gets several lines, long names lose their
middle, texts move below their rows, and columns move to further tables. Elsewhere (pipes, files), a table has its full
width.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge_msa.console import table_width

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.latency_statistics import Measured

ABSENT = "-"
_GAP = "  "
_MARK = ".."
_MIN_NAMES = (10, 6, 1)
"""Names are not shortened below 10 characters: columns then move to a further table. If not even one column has room
beside names of that size, the next number applies."""
_INDENT = "    "


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    keys: int | None = None,
    texts: int = 0,
    width: int | None = None,
) -> str:
    """Return a table with aligned columns.

    Args:
        header: Titles of the columns.
        rows: Cells of each row.
        left: Number of first columns that contain names. They are left-aligned, the others right-aligned.
        keys: Number of first columns that further tables repeat if this one is too wide (default: all names).
        texts: Number of last columns that contain long texts. They are left-aligned, and move below their rows if the
            table is too wide.
        width: Largest number of characters in a line (default: as many as the terminal has, or else any number).
    """
    width = width or table_width()
    widths = _widths(header, rows)
    is_left = [column < left or column >= len(header) - texts for column in range(len(header))]
    if width is None or _total(widths) <= width:
        return "\n".join(_format([[title] for title in header], rows, is_left, widths))
    numbers = len(header) - texts
    tables = _narrow_tables(header[:numbers], [row[:numbers] for row in rows], min(left, numbers), keys, width)
    if texts:
        *heads, last = tables
        titles, lines = last[: len(last) - len(rows)], last[len(last) - len(rows) :]
        below = (_below(header[numbers:], row[numbers:], width) for row in rows)
        tables = [*heads, titles + [line for row, extra in zip(lines, below, strict=True) for line in (row, *extra)]]
    return "\n\n".join("\n".join(lines) for lines in tables)


def elide(text: str, width: int) -> str:
    """Return a text without its middle if it has more than `width` characters."""
    if len(text) <= width:
        return text
    kept = width - len(_MARK)
    if kept < 2:
        return text[:width]
    return text[: kept - kept // 2] + _MARK + text[len(text) - kept // 2 :]


def _narrow_tables(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int, keys: int | None, width: int
) -> list[list[str]]:
    """Return the lines of one or several tables that fit."""
    cells = _widths([""] * len(header), rows)
    widths = [max([size, *map(len, title.split())]) for title, size in zip(header, cells, strict=True)]
    if left == len(header):
        if (sizes := _shorten(widths, width, _MIN_NAMES[0])) is not None:
            return [_format_columns(header, rows, left, sizes)]
        left = 1
    names, others = widths[:left], widths[left:]
    if (sizes := _shorten(names, width - len(_GAP) - _total(others), _MIN_NAMES[0])) is not None:
        return [_format_columns(header, rows, left, [*sizes, *others])]
    smallest = next(
        (sizes for least in _MIN_NAMES if (sizes := _shorten(names, width - len(_GAP) - max(others), least))),
        [1] * left,
    )
    room = width - _total(smallest) - len(_GAP)
    others = [min(size, room) for size in others]
    count = next(n for n in range(len(others), 0, -1) if n == 1 or _total(others[:n]) <= room)
    sizes = _shorten(names, width - len(_GAP) - _total(others[:count]), 1) or smallest
    end = left + count
    first = _format_columns(header[:end], [row[:end] for row in rows], left, [*sizes, *others[:count]])
    if end == len(header):
        return [first]
    repeated = left if keys is None else min(keys, left)
    columns = [*range(repeated), *range(end, len(header))]
    rest = [[row[column] for column in columns] for row in rows]
    return [first, *_narrow_tables([header[column] for column in columns], rest, repeated, None, width)]


def _below(header: Sequence[str], row: Sequence[str], width: int) -> list[str]:
    """Return the texts of a row as indented lines, with the titles of their columns."""
    labels = [f"{title.strip()}: {cell.strip()}" for title, cell in zip(header, row, strict=True) if cell.strip()]
    return [
        line
        for label in labels
        for line in textwrap.wrap(
            label, width, initial_indent=_INDENT, subsequent_indent=2 * _INDENT, break_on_hyphens=False
        )
    ]


def _shorten(widths: Sequence[int], room: int, least: int) -> list[int] | None:
    """Return widths for which there is room: the largest become smaller, but not below `least`. None if none fit."""
    sizes = list(widths)
    while _total(sizes) > room:
        largest = max(range(len(sizes)), key=sizes.__getitem__, default=None)
        if largest is None or sizes[largest] <= least:
            return None
        sizes[largest] -= 1
    return sizes


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]


def _total(widths: Sequence[int]) -> int:
    """Return the number of characters of a line, including the gaps between columns."""
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _format_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int, widths: Sequence[int]
) -> list[str]:
    """Return the lines of a table with columns of these widths. Titles that are too long have several lines."""
    titles = [textwrap.wrap(title, size) or [""] for title, size in zip(header, widths, strict=True)]
    cells = [[elide(cell, size) for cell, size in zip(row, widths, strict=True)] for row in rows]
    return _format(titles, cells, [column < left for column in range(len(header))], widths)


def _format(
    titles: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], is_left: Sequence[bool], widths: Sequence[int]
) -> list[str]:
    def format_row(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if starts else cell.rjust(width)
            for cell, width, starts in zip(cells, widths, is_left, strict=True)
        )
        return _GAP.join(aligned).rstrip()

    height = max(map(len, titles))
    heads = zip(*([*[""] * (height - len(lines)), *lines] for lines in titles), strict=True)
    return [*map(format_row, heads), _GAP.join("-" * width for width in widths), *map(format_row, rows)]


def format_kilobytes(size: int | None) -> str:
    """Return a size in bytes as kilobytes (1 KB is 1,000 bytes) for a column named `size KB`, or "-" for None."""
    return ABSENT if size is None else f"{size / 1e3:,.0f}" if size >= 1e4 else f"{size / 1e3:.1f}"


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` significant digits, in exponent form only below 0.001, or "-" for None."""
    if value is None:
        return ABSENT
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.1e}"
    text = f"{value:#.{digits}g}"
    return f"{value:.0f}" if "e" in text or text.endswith(".") else text


def format_measured(measured: Measured | None) -> str:
    """Return a measured value, with its interval if there is one, e.g. "0.123 (0.120-0.126)", or "-" for None."""
    if measured is None:
        return ABSENT
    text = format_number(measured.value)
    if measured.low is None or measured.high is None:
        return text
    return f"{text} ({format_number(measured.low)}-{format_number(measured.high)})"
