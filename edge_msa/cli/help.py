"""The layout of --help, and what all commands do before they start."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from edge_msa.artifacts.requests import allow_replacing
from edge_msa.cli.paths import Output, check_may_replace_files, check_paths, path_marks
from edge_msa.console import set_verbose

VERBOSE = ("-v", "--verbose")
OVERWRITE = "--overwrite"
OVERWRITE_HELP = "Replace an existing output of other options or data."
VERBOSE_HELP = "Print details on stderr: more notes, tables, and the messages of libraries."


_flags_app = typer.Typer(add_completion=False)


def _set_overwrite(ctx: typer.Context, value: bool) -> None:
    ctx.meta[OVERWRITE] = value


def _set_verbose(value: bool) -> None:
    if value:
        set_verbose(verbose=True)


@_flags_app.command()
def _flags(
    overwrite: Annotated[
        bool, typer.Option(OVERWRITE, help=OVERWRITE_HELP, expose_value=False, callback=_set_overwrite)
    ] = False,
    verbose: Annotated[
        bool, typer.Option(*VERBOSE, help=VERBOSE_HELP, expose_value=False, callback=_set_verbose)
    ] = False,
) -> None:
    """Declare the parameters that commands have besides those of their functions."""


class Command(TyperCommand):
    """A command with `--verbose`, and `--overwrite` if it has outputs, which it checks before it starts.

    Its help shows arguments without Python types, and defaults without extra parentheses.
    """

    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the parameters."""
        super().__init__(*args, **kwargs)
        overwrite, verbose = typer.main.get_command(_flags_app).params
        self.params += [overwrite, verbose] if self._has_output() else [verbose]

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

    def invoke(self, ctx: Any) -> Any:
        """Check the outputs and run the command."""
        if self.callback is None:
            return super().invoke(ctx)
        overwrite = bool(ctx.meta.get(OVERWRITE))
        check_paths(self.callback, ctx.params)
        if not overwrite:
            check_may_replace_files(self.callback, ctx.params)
        with allow_replacing("any" if overwrite else "same"):
            return super().invoke(ctx)

    def _has_output(self) -> bool:
        return self.callback is not None and any(isinstance(mark, Output) for _, _, mark in path_marks(self.callback))


class DefaultCommandGroup(TyperGroup):
    """A group that runs `default_command` if the first argument is neither a sub-command nor --help.

    If the first argument is both `default_command` and a folder, it is the folder, unless another folder follows.
    """

    default_command: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default sub-command if the arguments name none. `--verbose` may precede the sub-command."""
        flags = list(itertools.takewhile(VERBOSE.__contains__, args))
        args = args[len(flags) :]
        if not args or args[0] not in {*self.commands, "--help"} or self._is_folder(args):
            args = [self.default_command, *args]
        if args[0] != "--help":
            args = [args[0], *flags, *args[1:]]
        return super().parse_args(ctx, args)

    def _is_folder(self, args: list[str]) -> bool:
        """Return whether the first argument is a folder with the name of the default sub-command."""
        if args[0] != self.default_command or "--help" in args:
            return False
        return Path(args[0]).is_dir() and not any(Path(item).is_dir() for item in args[1:])
