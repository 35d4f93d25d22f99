"""The layout of --help."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help shows arguments without Python types, and defaults without extra parentheses."""

    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections "Arguments" and "Options"."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            text = re.sub(r"default: \((.*)\)(?=[;\]])", r"default: \1", text)
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((name.split(" <")[0], text))
            else:
                sections["Options"].append((name, text))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class DefaultCommandGroup(TyperGroup):
    """A group that runs `default_command` if the first argument is neither a sub-command nor --help."""

    default_command: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default sub-command if the arguments name none."""
        if not args or args[0] not in {*self.commands, "--help"}:
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)
