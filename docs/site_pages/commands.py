"""Every command with its arguments and options, from the parsers of `edge-msa` and `edge-msa-run`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
import typer.main

from edge_msa.cli.app import app
from edge_msa.cli.help_page import describe
from edge_msa_runtime.cli.help_page import HelpPage, Row
from edge_msa_runtime.cli.main import create_parser
from site_pages.markdown import code, prose, table

_COMMON = ("--help", "--verbose", "--quiet")
"""Options that every command has."""


def toolkit_pages() -> dict[str, HelpPage]:
    """Return the help of each command of `edge-msa`, by its words, sub-commands after their group."""
    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    root: Any = typer.main.get_command(app)
    return dict(_walk(root, typer.Context(root, info_name="edge-msa")))


def runtime_pages() -> dict[str, HelpPage]:
    """Return the help of each command of `edge-msa-run`, by its words."""
    parser = create_parser()
    commands = next(action.choices for action in parser._actions if action.dest == "command")  # noqa: SLF001 - not public
    return {item.prog: item.describe() for item in (parser, *dict(commands or {}).values())}


def describe_toolkit() -> str:
    """Return a section for each command of `edge-msa`."""
    return "\n".join(_section(name, page) for name, page in toolkit_pages().items())


def describe_runtime() -> str:
    """Return a section for each command of `edge-msa-run`."""
    return "\n".join(_section(name, page) for name, page in runtime_pages().items())


def _walk(command: Any, context: Any) -> Iterator[tuple[str, HelpPage]]:
    yield context.command_path, describe(command, context)
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from _walk(child, typer.Context(child, info_name=name, parent=context))


def _section(name: str, page: HelpPage) -> str:
    words = name.split()
    level = "##" if len(words) < 3 else "###"
    parts = [f"{level} {name}", "", *(prose(paragraph) + "\n" for paragraph in page.description)]
    parts += ["```text", page.usage, "```", ""]
    if page.example:
        parts += ["Example:", "", "```sh", page.example, "```", ""]
    for title, rows in page.sections:
        # Options that all commands have are described once, with the command that contains them.
        listed = [row for row in rows if len(words) == 1 or not row.names.endswith(_COMMON)]
        if listed:
            parts.append(table((title, ""), [(_names(name, row, title), prose(row.text)) for row in listed]))
    return "\n".join(parts)


def _names(command: str, row: Row, title: str) -> str:
    """Return the names of a row; a sub-command is a link to its section."""
    is_command = row.names[0].isalpha() and row.names.islower() and title not in {"Arguments", "Options"}
    return f"[{code(row.names)}](#{'-'.join([*command.split(), row.names])})" if is_command else code(row.names)
