"""What --help prints: usage, description, an example, and the arguments and options in sections, within 80 columns.

The description of a command is the docstring of its function. Its last part, under `Example:`, is a command that works.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from edge_msa.cli.options import ADVANCED, GENERAL, HARDWARE, REMOTE
from edge_msa_runtime.cli.help_page import HelpPage, Row

ARGUMENTS, OPTIONS, COMPLETION, COMMANDS = "Arguments", "Options", "Shell completion", "Commands"
OPTION_SECTIONS = (ARGUMENTS, OPTIONS, HARDWARE, REMOTE, ADVANCED, GENERAL, COMPLETION)
"""Sections of arguments and options, in their order on the page."""
COMMAND_SECTIONS = ("Start", "Data", "Train", "Ship", "Measure", "Research", COMMANDS)
"""Sections of commands, in their order on the page of a group."""
_COMPLETION_HELP = {
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Print the completion script of the current shell.",
}
_GENERAL_OPTIONS = ("json", "dry_run", "overwrite", "verbose", "quiet", "version", "help")
_EXAMPLE = "\n\nExample:\n"


class WithHelpPage:
    """A command or group whose --help is a `HelpPage`."""

    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page."""
        formatter.write(describe(self, ctx).format(formatter.width))


def describe(command: Any, ctx: Any) -> HelpPage:
    """Return the help page of a command or group in a context."""
    parameters = [item for item in command.get_params(ctx) if not getattr(item, "hidden", False)]
    subcommands = getattr(command, "commands", None)
    description, example = split_help(command.help)
    return HelpPage(
        usage=" ".join([ctx.command_path, *_usage(parameters, is_group=subcommands is not None)]),
        description=description,
        example=example,
        sections=(*_command_sections(subcommands or {}), *_option_sections(parameters)),
    )


def split_help(text: str | None) -> tuple[tuple[str, ...], str]:
    """Return the paragraphs of a docstring before its example, and the example."""
    body, _, example = (text or "").strip().partition(_EXAMPLE)
    paragraphs = tuple(" ".join(paragraph.split()) for paragraph in body.split("\n\n"))
    return paragraphs, textwrap.dedent(example).rstrip()


def _usage(parameters: Sequence[Any], *, is_group: bool) -> Iterable[str]:
    if is_group:
        yield "COMMAND"
    yield from (_placeholder(item) for item in parameters if _is_argument(item))
    yield from (f"{item.opts[-1]} {item.metavar}" for item in parameters if item.required and not _is_argument(item))
    yield "[OPTIONS]"


def _command_sections(commands: dict[str, Any]) -> Iterable[tuple[str, tuple[Row, ...]]]:
    rows: dict[str, list[Row]] = {title: [] for title in COMMAND_SECTIONS}
    for name, command in commands.items():
        if not command.hidden:
            rows[_section(command, COMMANDS)].append(Row(name, split_help(command.help)[0][0]))
    return ((title, tuple(items)) for title, items in rows.items() if items)


def _option_sections(parameters: Sequence[Any]) -> Iterable[tuple[str, tuple[Row, ...]]]:
    rows: dict[str, list[Row]] = {title: [] for title in OPTION_SECTIONS}
    for parameter in sorted(parameters, key=lambda item: not item.required):  # required ones first
        if _is_argument(parameter):
            section = ARGUMENTS
        elif parameter.opts[0] in _COMPLETION_HELP:
            section = COMPLETION
        else:
            section = _section(parameter, GENERAL if parameter.name in _GENERAL_OPTIONS else OPTIONS)
        rows[section].append(describe_parameter(parameter))
    return ((title, tuple(items)) for title, items in rows.items() if items)


def describe_parameter(parameter: Any) -> Row:
    """Return the row of an argument or option. Its text ends with the default."""
    names = _placeholder(parameter) if _is_argument(parameter) else _option_names(parameter)
    text = _COMPLETION_HELP.get(parameter.opts[0], " ".join(str(parameter.help).split()))
    if parameter.required:
        return Row(names, f"{text} Required.")
    default = _default(parameter)
    return Row(names, f"{text} Default: {default}." if default else text)


def _section(item: Any, default: str) -> str:
    panel = getattr(item, "rich_help_panel", None)
    return panel if isinstance(panel, str) else default


def _option_names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names = f"{names}, {', '.join(option.secondary_opts)}"
    return names if option.is_flag else f"{names} {option.metavar}"


def _placeholder(argument: Any) -> str:
    name = str(argument.metavar).strip("[]")
    return name if argument.required else f"[{name}]"


def _default(parameter: Any) -> str | None:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    if value is None or isinstance(value, bool) or callable(value):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")
