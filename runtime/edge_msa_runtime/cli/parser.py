"""The parser of a command: options in sections, a help page with an example, and errors in one line."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
from typing import Any, NoReturn, Sequence

from edge_msa_runtime.cli.help_page import WIDTH, HelpPage, Row
from edge_msa_runtime.errors import UsageError

ARGUMENTS, COMMANDS, OPTIONS, STREAM = "Arguments", "Commands", "Options", "Stream"
BACKEND, SIGNATURE, GENERAL = "Backend", "Signature", "General"
_SECTIONS = (ARGUMENTS, COMMANDS, OPTIONS, STREAM, BACKEND, SIGNATURE, GENERAL)
_MINIMUM_WIDTH = 50


class Parser(argparse.ArgumentParser):
    """Parses a command. Its options are declared with `add`, which also describes them on the help page."""

    def __init__(self, *, example: str, **arguments: Any) -> None:
        """Create a parser with `--help` only.

        Args:
            example: A command line that works. It is on the help page and in error messages.
            **arguments: Arguments of `argparse.ArgumentParser`.
        """
        super().__init__(add_help=False, epilog=example, **arguments)
        self.example = example
        self.rows: dict[str, list[Row]] = {title: [] for title in _SECTIONS}
        self.placeholders: list[str] = []

    def add(self, section: str, *names: str, **arguments: Any) -> None:
        """Add an argument or option to a section of the help page.

        Args:
            section: Title of the section.
            *names: Names of the option, or the name of the argument.
            **arguments: Arguments of `add_argument`. `help` ends with the default value.
        """
        if not names[0].startswith("-") and arguments.get("nargs") != "?":
            arguments["help"] += " Required."
        action = self.add_argument(*names, **arguments)
        shown = ", ".join(action.option_strings)
        if action.nargs != 0:
            shown = f"{shown} {action.metavar}".strip()
        if not action.option_strings:
            shown = f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)
            self.placeholders.append(shown)
        self.rows[section].append(Row(shown, str(action.help)))

    def describe(self) -> HelpPage:
        """Return the help page."""
        usage = " ".join([self.prog, *self.placeholders, "[OPTIONS]"])
        sections = tuple((title, tuple(rows)) for title, rows in self.rows.items())
        return HelpPage(usage, (str(self.description),), self.example, sections)

    def format_help(self) -> str:
        """Return the help page in the width of the terminal."""
        width = max(min(shutil.get_terminal_size().columns - 2, WIDTH), _MINIMUM_WIDTH)
        return self.describe().format(width)

    def error(self, message: str) -> NoReturn:
        """Raise an error in one line, with the nearest valid choice or the example.

        Raises:
            UsageError: always.
        """
        wrong = re.search(r"argument COMMAND: invalid choice: '([^']*)'", message)
        if wrong:
            message = f"Unknown command {wrong[1]!r}.{_suggest(wrong[1], [row.names for row in self.rows[COMMANDS]])}"
        elif "required" in message:
            message = f"{message}. Example: {self.example}."
        else:
            message += "."
        raise UsageError(f"{message} See {self.prog} --help")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Raise an error about arguments that the command does not have.

        Raises:
            UsageError: always.
        """
        option = next((item.partition("=")[0] for item in unknown if item.startswith("-")), None)
        if option is None:
            message = f"Unexpected argument {unknown[0]!r}. Example: {self.example}."
        else:
            names = [name for action in self._actions for name in action.option_strings]
            message = f"No such option: {option}.{_suggest(option, names) or f' Example: {self.example}.'}"
        raise UsageError(f"{message} See {self.prog} --help")


def _suggest(value: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(value, names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
