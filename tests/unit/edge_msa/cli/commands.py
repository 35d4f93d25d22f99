"""Every command of `edge-msa`, from the application itself."""

from __future__ import annotations

from typing import Any

import typer.main

from edge_msa.cli.app import app
from edge_msa.cli.help import HELP
from edge_msa.cli.help_page import describe
from edge_msa_runtime.cli.help_page import HelpPage

ROOT: Any = typer.main.get_command(app)
"""The command `edge-msa`. Its type is from click or from Typer's copy of it, depending on the version of Typer."""


def find_context(command: str) -> Any:
    """Return the context of a command, such as `data inspect`."""
    context = ROOT.context_class(ROOT, info_name="edge-msa", help_option_names=list(HELP))
    for name in command.split():
        subcommand = context.command.commands[name]
        context = subcommand.context_class(subcommand, info_name=name, parent=context)
    return context


def help_page(command: str) -> HelpPage:
    """Return the help page of a command."""
    context = find_context(command)
    return describe(context.command, context)


def _names(command: Any, name: str) -> list[str]:
    subcommands = getattr(command, "commands", {}).items()
    return [name, *(item for key, child in subcommands for item in _names(child, f"{name} {key}".strip()))]


COMMANDS = tuple(_names(ROOT, ""))
"""Names of all commands and groups; `edge-msa` itself is the empty name."""
LEAVES = tuple(name for name in COMMANDS if not hasattr(find_context(name).command, "commands"))
"""Names of the commands that are not groups."""
