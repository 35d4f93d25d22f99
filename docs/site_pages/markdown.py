"""Markdown from plain values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. Cells may contain Markdown; line breaks and vertical bars are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(_cell(value) for value in line) + " |\n" for line in lines)


def code(text: object) -> str:
    """Return a text as inline code, or an empty string for an empty text."""
    value = str(text)
    fence = "``" if "`" in value else "`"
    return f"{fence}{value}{fence}" if value else ""


def prose(text: str) -> str:
    """Return a text of a help message or docstring, in which only backticks have a meaning in Markdown."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if index % 2 else _escape(part) for index, part in enumerate(parts))


def _escape(text: str) -> str:
    for character in r"\*_<[":
        text = text.replace(character, "&lt;" if character == "<" else "\\" + character)
    return text


def _cell(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")
