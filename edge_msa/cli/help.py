"""The layout of --help, and what all commands do before they start."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from edge_msa.cli.paths import check_paths
from edge_msa.console import set_verbose

VERBOSE = ("-v", "--verbose")
VERBOSE_HELP = "Print details on stderr: more notes, tables, and the messages of libraries."


class Command(TyperCommand):
    """A command with `--verbose` that checks all its outputs before it starts.

    Its help shows arguments without Python types, and defaults without extra parentheses.
    """

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
        sections["Options"].append((", ".join(VERBOSE), VERBOSE_HELP))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--verbose` out of the arguments. It is also an option of `edge-msa` itself."""
        end = args.index("--") if "--" in args else len(args)
        if any(argument in VERBOSE for argument in args[:end]):
            set_verbose(verbose=True)
        return super().parse_args(ctx, [item for item in args[:end] if item not in VERBOSE] + args[end:])

    def invoke(self, ctx: Any) -> Any:
        """Check the outputs, then run the command."""
        if self.callback is not None:
            check_paths(self.callback, ctx.params)
        return super().invoke(ctx)


class DefaultCommandGroup(TyperGroup):
    """A group that runs `default_command` if the first argument is neither a sub-command nor --help."""

    default_command: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default sub-command if the arguments name none."""
        if not args or args[0] not in {*self.commands, "--help"}:
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)
