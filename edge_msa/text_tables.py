"""Plain text tables for terminals."""

from __future__ import annotations

from collections.abc import Sequence

ABSENT = "-"


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Return a table with aligned columns: the first `left` columns are left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def format_row(cells: Sequence[str]) -> str:
        aligned = (
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([format_row(header), "  ".join("-" * width for width in widths), *map(format_row, rows)])


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
