"""What all commands have in common: flags, checks before they start, and groups of commands."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from edge_msa.artifacts.dry_run import dry_run
from edge_msa.artifacts.requests import allow_replacing
from edge_msa.cli.help_page import WithHelpPage
from edge_msa.cli.next_commands import suggest_next
from edge_msa.cli.paths import Output, check_may_replace_files, check_paths, path_marks
from edge_msa.cli.plan import print_plan
from edge_msa.console import command_messages, has_next, print_next
from edge_msa.errors import UsageError
from edge_msa.workflows.api import called_by_command

HELP = ("-h", "--help")
VERBOSE = ("-v", "--verbose")
QUIET = ("-q", "--quiet")
OVERWRITE = "--overwrite"
DRY_RUN = "--dry-run"
DRY_RUN_HELP = "Print the steps, which of them are up to date, and the estimated time. Write nothing."
OVERWRITE_HELP = "Replace an existing output of other options or data."
VERBOSE_HELP = "Print details on stderr: more notes, tables, and the messages of libraries."
QUIET_HELP = "Print results and errors only."


_flags_app = typer.Typer(add_completion=False)


def _set_overwrite(ctx: typer.Context, value: bool) -> None:
    ctx.meta[OVERWRITE] = value


def _set_dry_run(ctx: typer.Context, value: bool) -> None:
    ctx.meta[DRY_RUN] = value


def set_verbose(ctx: typer.Context, value: bool) -> None:
    """Keep `--verbose` for the command, which it may precede or follow."""
    if value:
        ctx.meta[VERBOSE[-1]] = True


def set_quiet(ctx: typer.Context, value: bool) -> None:
    """Keep `--quiet` for the command, which it may precede or follow."""
    if value:
        ctx.meta[QUIET[-1]] = True


@_flags_app.command()
def _flags(
    overwrite: Annotated[
        bool, typer.Option(OVERWRITE, help=OVERWRITE_HELP, expose_value=False, callback=_set_overwrite)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option(DRY_RUN, help=DRY_RUN_HELP, expose_value=False, callback=_set_dry_run)
    ] = False,
    verbose: Annotated[
        bool, typer.Option(*VERBOSE, help=VERBOSE_HELP, expose_value=False, callback=set_verbose)
    ] = False,
    quiet: Annotated[bool, typer.Option(*QUIET, help=QUIET_HELP, expose_value=False, callback=set_quiet)] = False,
) -> None:
    """Declare the parameters that commands have besides those of their functions."""


class Command(WithHelpPage, TyperCommand):
    """A command with `--verbose`, `--quiet`, and `--overwrite` if it has outputs, which it checks before it starts."""

    has_dry_run = False
    """Whether the command has `--dry-run`."""

    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the parameters."""
        super().__init__(*args, **kwargs)
        overwrite, dry_run, *messages = typer.main.get_command(_flags_app).params
        self.params += [overwrite] if self._has_output() else []
        self.params += [dry_run] if self.has_dry_run else []
        self.params += messages

    def invoke(self, ctx: Any) -> Any:
        """Check the outputs and run the command, which prints what the user wants to see.

        Raises:
            UsageError: The user wants both less and more, or an output cannot be written.
        """
        if self.callback is None:
            return super().invoke(ctx)
        verbose, quiet = bool(ctx.meta.get(VERBOSE[-1])), bool(ctx.meta.get(QUIET[-1]))
        if verbose and quiet:
            raise UsageError("--quiet and --verbose exclude each other. Pass one of them.")
        overwrite = bool(ctx.meta.get(OVERWRITE))
        check_paths(self.callback, ctx.params)
        if not overwrite:
            check_may_replace_files(self.callback, ctx.params)
        with (
            command_messages(ctx.command_path, details=verbose, quiet=quiet, json=bool(ctx.params.get("json"))),
            called_by_command(),
            allow_replacing("any" if overwrite else "same"),
        ):
            if not ctx.meta.get(DRY_RUN):
                result = super().invoke(ctx)
                name = ctx.command_path.removeprefix(f"{ctx.find_root().command_path} ")
                if not has_next() and (command := suggest_next(name, ctx.params)):
                    print_next(command)
                return result
            with dry_run() as plan:
                super().invoke(ctx)
            print_plan(plan, json=bool(ctx.params.get("json")))
            return None

    def _has_output(self) -> bool:
        return self.callback is not None and any(isinstance(mark, Output) for _, _, mark in path_marks(self.callback))


class SlowCommand(Command):
    """A command with `--dry-run`, because it can take more than a few seconds."""

    has_dry_run = True


class Group(WithHelpPage, TyperGroup):
    """A group of commands."""


class DefaultCommandGroup(Group):
    """A group that runs `default_command` if the first argument is neither a sub-command nor --help.

    If the first argument is both `default_command` and a folder, it is the folder. If another folder follows, either
    can be meant, which is an error.
    """

    default_command: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default sub-command if the arguments name none. `--verbose` or `--quiet` may precede it."""
        if ctx.resilient_parsing and not args:  # the shell completes the names of the sub-commands
            return super().parse_args(ctx, args)
        flags = list(itertools.takewhile((*VERBOSE, *QUIET).__contains__, args))
        args = args[len(flags) :]
        if self.takes_default(args):
            args = [self.default_command, *args]
        if args[0] not in HELP:
            args = [args[0], *flags, *args[1:]]
        return super().parse_args(ctx, args)

    def takes_default(self, args: list[str]) -> bool:
        """Return whether the arguments, without flags before a sub-command, are those of the default sub-command."""
        return not args or args[0] not in {*self.commands, *HELP} or self._is_folder(args)

    def _is_folder(self, args: list[str]) -> bool:
        """Return whether the first argument is a folder with the name of the default sub-command.

        Raises:
            UsageError: Another folder follows, so that the first argument can also be the sub-command.
        """
        name = args[0]
        if name != self.default_command or not set(args).isdisjoint(HELP) or not Path(name).is_dir():
            return False
        others = [item for item in args[1:] if Path(item).is_dir()]
        if name in others:
            return False
        if others:
            raise UsageError(
                f"{name} is both a sub-command and a folder here. Write ./{name} for the folder, or leave {name} out."
            )
        return True
