"""The layout of --help, for `edge-msa-run` and `edge-msa`: at most 80 columns, sections, and an example."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Sequence

WIDTH = 78
"""Largest number of characters in a line, as in the help pages of Python's command line libraries."""
_NAMES_WIDTH = 24
"""Width of the column with the names. The text of a longer name starts on the next line."""


@dataclass(frozen=True)
class Row:
    """One argument, option or command of a help page."""

    names: str
    """Its names and its placeholder, as `-o, --output FILE`."""
    text: str
    """Its description in sentences, which ends with the default of an option."""


@dataclass(frozen=True)
class HelpPage:
    """The help of a command or of a group of commands."""

    usage: str
    """The command with its placeholders."""
    description: tuple[str, ...]
    """Paragraphs. The first one is the summary, one sentence."""
    example: str
    """Commands to try, or an empty string."""
    sections: tuple[tuple[str, tuple[Row, ...]], ...]
    """Titles and rows. Sections without rows are left out."""

    def format(self, width: int = WIDTH) -> str:
        """Return the page as lines of at most `width` characters."""
        lines = _wrap(f"Usage: {self.usage}", width, later="    ")
        for paragraph in self.description:
            lines += ["", *_wrap(paragraph, width, first="  ", later="  ")]
        if self.example:
            lines += ["", "Example:", *textwrap.indent(self.example, "  ").split("\n")]
        for title, rows in self.sections:
            if rows:
                lines += ["", f"{title}:", *_format_rows(rows, width)]
        return "\n".join(lines) + "\n"


def _format_rows(rows: Sequence[Row], width: int) -> list[str]:
    column = 4 + max((len(row.names) for row in rows if len(row.names) <= _NAMES_WIDTH), default=_NAMES_WIDTH)
    lines = []
    for row in rows:
        text = _wrap(row.text, width, first=" " * column, later=" " * column)
        if len(row.names) + 4 <= column:
            text[0] = f"  {row.names}".ljust(column) + text[0][column:]
            lines += text
        else:
            lines += [f"  {row.names}", *text]
    return lines


def _wrap(text: str, width: int, *, first: str = "", later: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
