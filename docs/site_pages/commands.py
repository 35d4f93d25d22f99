"""Every command with its arguments and options, from the parsers of `edge-msa` and `edge-msa-run`."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer
import typer.main

from edge_msa.cli.app import app
from edge_msa.cli.help_page import describe_parameter, split_help
from edge_msa_runtime.cli.main import create_parser
from site_pages.markdown import code, prose, table


class Parameter(NamedTuple):
    """An option or an argument."""

    names: tuple[str, ...]
    """How it is written, such as `-v` and `--verbose`; for an argument, its metavar."""
    usage: str
    """How it appears in a help text, such as `--data FILE`."""
    help: str
    """What it does, with its default."""
    is_option: bool
    """Whether it is an option."""


class CommandPage(NamedTuple):
    """A command that can be run, or a group of commands."""

    name: str
    """The words of the command, such as `edge-msa data inspect`."""
    help: str
    """Paragraphs that describe it."""
    epilog: str
    """Text after the options, such as examples."""
    parameters: tuple[Parameter, ...]
    """Its arguments and options, in the order of its help text."""
    is_group: bool
    """Whether it only groups other commands."""


def toolkit_commands() -> list[CommandPage]:
    """Return the commands of `edge-msa`, sub-commands after their group."""
    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    root: Any = typer.main.get_command(app)
    return list(_walk(root, typer.Context(root, info_name="edge-msa")))


def runtime_commands() -> list[CommandPage]:
    """Return the commands of `edge-msa-run`."""
    parser = create_parser()
    pages = [_from_argparse(parser, "edge-msa-run")]
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list sub-parsers
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            pages += [_from_argparse(sub, f"edge-msa-run {name}") for name, sub in action.choices.items()]
    return pages


def describe_toolkit() -> str:
    """Return a section for each command of `edge-msa`."""
    return "\n".join(_section(page) for page in toolkit_commands())


def describe_runtime() -> str:
    """Return a section for each command of `edge-msa-run`."""
    return "\n".join(_section(page) for page in runtime_commands())


def _walk(command: Any, context: Any) -> Iterator[CommandPage]:
    children = getattr(command, "commands", {})
    parameters = tuple(_from_click(item) for item in command.get_params(context) if not item.hidden)
    description, example = split_help(command.help)
    yield CommandPage(context.command_path, "\n\n".join(description), example, parameters, bool(children))
    for name, child in children.items():
        if not child.hidden:
            yield from _walk(child, typer.Context(child, info_name=name, parent=context))


def _from_click(item: Any) -> Parameter:
    row = describe_parameter(item)
    is_option = item.param_type_name == "option"
    return Parameter((*item.opts, *item.secondary_opts) if is_option else (row.names,), row.names, row.text, is_option)


def _from_argparse(parser: argparse.ArgumentParser, name: str) -> CommandPage:
    actions = [item for item in parser._actions if not isinstance(item, argparse._SubParsersAction)]  # noqa: SLF001
    parameters = tuple(_from_action(item) for item in actions if item.help != argparse.SUPPRESS)
    return CommandPage(name, parser.description or "", parser.epilog or "", parameters, name == "edge-msa-run")


def _from_action(action: argparse.Action) -> Parameter:
    metavar = action.metavar or (action.choices and "|".join(map(str, action.choices))) or action.dest.upper()
    value = " ".join(metavar) if isinstance(metavar, tuple) else str(metavar)
    names = tuple(action.option_strings) or (value,)
    usage = ", ".join(names) + (f" {value}" if action.option_strings and action.nargs != 0 else "")
    text = (action.help or "") % {**vars(action), "prog": "edge-msa-run"}
    return Parameter(names, usage, text, bool(action.option_strings))


def _section(page: CommandPage) -> str:
    parts = [f"## {page.name}" if page.name.count(" ") < 2 else f"### {page.name}", ""]
    parts += [prose(paragraph) + "\n" for paragraph in page.help.split("\n\n") if paragraph]
    arguments = [item for item in page.parameters if not item.is_option]
    words = [page.name, *(item.usage for item in arguments)]
    words.append("COMMAND ..." if page.is_group else "[OPTIONS]")
    parts += ["```text", " ".join(words), "```", ""]
    options = [item for item in page.parameters if item.is_option and "--help" not in item.names]
    for title, items in (("argument", arguments), ("option", options)):
        if items:
            parts.append(table((title, "meaning"), [(code(item.usage), prose(item.help)) for item in items]))
    if page.epilog:
        parts += ["```text", inspect.cleandoc(page.epilog).replace("\b", "").strip(), "```", ""]
    return "\n".join(parts)
