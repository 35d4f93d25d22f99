"""The layout of --help, and what all commands do before they start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.core import TyperCommand, TyperGroup

from edge_msa.artifacts.requests import allow_replacing
from edge_msa.artifacts.stamps import write_stamp
from edge_msa.cli.paths import Output, check_may_replace_files, check_paths, format_command, output_files, path_marks
from edge_msa.console import set_verbose

VERBOSE = ("-v", "--verbose")
OVERWRITE = "--overwrite"
OVERWRITE_HELP = "Replace an existing output even if other options, data or code made it."
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
        if self._has_output():
            sections["Options"].append((OVERWRITE, OVERWRITE_HELP))
        sections["Options"].append((", ".join(VERBOSE), VERBOSE_HELP))
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--verbose` and `--overwrite` out of the arguments."""
        end = args.index("--") if "--" in args else len(args)
        flags = {*VERBOSE, OVERWRITE} if self._has_output() else {*VERBOSE}
        passed = flags.intersection(args[:end])
        if passed.intersection(VERBOSE):
            set_verbose(verbose=True)
        ctx.meta[OVERWRITE] = OVERWRITE in passed
        return super().parse_args(ctx, [item for item in args[:end] if item not in flags] + args[end:])

    def invoke(self, ctx: Any) -> Any:
        """Check the outputs, run the command, and record in its files which command line wrote them."""
        callback, values, overwrite = self.callback, ctx.params, ctx.meta.get(OVERWRITE, False)
        if callback is None:
            return super().invoke(ctx)
        check_paths(callback, values)
        files = list(output_files(callback, values))
        command = format_command(ctx.command_path, callback, values)
        if not overwrite:
            check_may_replace_files(files, command)
        before = [_file_state(path) for path in files]
        try:
            with allow_replacing("any" if overwrite else "same"):
                return super().invoke(ctx)
        finally:
            for path, state in zip(files, before, strict=True):
                if _file_state(path) not in (state, None):
                    write_stamp(path, command)

    def _has_output(self) -> bool:
        return self.callback is not None and any(isinstance(mark, Output) for _, _, mark in path_marks(self.callback))


def _file_state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced, or None if there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


class DefaultCommandGroup(TyperGroup):
    """A group that runs `default_command` if the first argument is neither a sub-command nor --help.

    If the first argument is both `default_command` and a folder, it is the folder, unless another folder follows.
    """

    default_command: str

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default sub-command if the arguments name none."""
        if not args or args[0] not in {*self.commands, "--help"} or self._is_folder(args):
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def _is_folder(self, args: list[str]) -> bool:
        """Return whether the first argument is a folder with the name of the default sub-command."""
        if args[0] != self.default_command or "--help" in args:
            return False
        return Path(args[0]).is_dir() and not any(Path(item).is_dir() for item in args[1:])
