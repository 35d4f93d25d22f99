"""Messages about wrong command lines: what is wrong, with the nearest valid option or an example."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from edge_msa.cli.help_page import split_help

_SIMILAR = 0.75
"""How similar an option must be to be suggested, from 0 to 1."""
_MIN_PREFIX = 4
"""Number of characters from which on the beginning of an option stands for it: `--ou` for `--output-dir`."""
_FILE_OPTIONS = ("--data", "--transcripts")
"""Options whose value is often passed as an argument instead, the most likely first."""
_EXPECTED = {
    r"greater than or equal to (\S+)": r"at least \1",
    r"less than or equal to (\S+)": r"at most \1",
    r"a valid integer.*": "an integer",
    r"a valid number.*": "a number",
}
"""What pydantic says of a value, and what we say."""


def format_usage_error(error: Any, arguments: Sequence[str]) -> str:
    """Return one line about an error of Typer.

    Args:
        error: The error. Depending on the version of Typer, its type is from click or from Typer's copy of it.
        arguments: The command line.
    """
    ctx = getattr(error, "ctx", None)
    command = getattr(ctx, "command_path", "edge-msa")
    return f"{_message(error, ctx, arguments)} See {command} --help"


def _message(error: Any, ctx: Any, arguments: Sequence[str]) -> str:
    message = " ".join(str(error.format_message()).split()).replace("Value error, ", "").rstrip(".")
    kind = type(error).__name__
    if kind == "NoSuchOption" and ctx is not None:
        name = error.option_name
        options = [option for item in ctx.command.get_params(ctx) for option in (*item.opts, *item.secondary_opts)]
        names = [option for option in options if option.startswith("-")]
        longer = [option for option in names if len(name) >= _MIN_PREFIX and option.startswith(name)]
        if close := longer or difflib.get_close_matches(name, names, n=1, cutoff=_SIMILAR):
            return f"No such option: {name}. Did you mean {close[0]!r}?"
        return f"No such option: {name}.{_example(ctx)}"
    if (extra := re.search(r"unexpected extra argument(?:s|\(s\))? \((.*)\)", message)) and ctx is not None:
        return f"Unexpected argument {extra[1]!r}.{_option_for_argument(extra[1], ctx) or _example(ctx)}"
    if kind == "MissingParameter":
        return f"{message}.{_example(ctx)}"
    return _about_value(message, arguments)


def _about_value(message: str, arguments: Sequence[str]) -> str:
    """Return the message about the value of an option in our words."""
    if match := re.fullmatch(r"Invalid value for '([^']+)': Input should be (.*)", message):
        return f"{match[1]} must be {_expected(match[2])}{_actual(match[1], arguments)}."
    if match := re.fullmatch(r"Invalid value for '([^']+)': '(.*)' is not one of (.*)", message):
        names = re.findall(r"'([^']*)'", match[3])
        close = difflib.get_close_matches(match[2], names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{match[1].strip('[]')} must be one of {', '.join(names)}, got {match[2]!r}.{hint}"
    return message if message.endswith("?") else f"{message}."


def _option_for_argument(values: str, ctx: Any) -> str:
    """Return a sentence with the option that takes what was passed as an argument; "" if there is none."""
    options = {option for item in ctx.command.get_params(ctx) for option in item.opts}
    candidates = ("--recipe",) if values.endswith(".toml") else _FILE_OPTIONS
    option = next((name for name in candidates if name in options), None)
    return f" Did you mean {option} {values}?" if option and " " not in values else ""


def _example(ctx: Any) -> str:
    """Return a sentence with the example of a command."""
    example = split_help(ctx.command.help)[1] if ctx is not None else ""
    return f" Example: {' '.join(example.replace(chr(92), ' ').split())}." if example else ""


def _expected(text: str) -> str:
    for pattern, words in _EXPECTED.items():
        text = re.sub(pattern, words, text)
    return text


def _actual(option: str, arguments: Sequence[str]) -> str:
    """Return what the command line has as the value of an option."""
    for index, word in enumerate(arguments):
        if word == option and index + 1 < len(arguments):
            return f", got {arguments[index + 1]!r}"
        if word.startswith(f"{option}="):
            return f", got {word.partition('=')[2]!r}"
    return ""
