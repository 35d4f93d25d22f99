"""Every code block of the documentation names its language, and every command in it exists."""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import Any

import typer
import typer.main

from edge_msa.cli.app import app
from edge_msa_runtime.cli.main import create_parser
from tests.documents import Block, all_blocks, list_commands, list_pages
from tests.locations import REPOSITORY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELL = {"sh", "bash", "console"}
LANGUAGES = SHELL | {"python", "toml", "text", "json", "mermaid", "dockerfile", "ini", "yaml"}
COMPLETION = {"--install-completion", "--show-completion"}
PLACEHOLDER = re.compile(r"[\[\]|]|\.\.\.|^-{0,2}$")
"""A word of a usage line, such as `[--dla]`, `P|all` or `BUNDLE...`, which no parser accepts."""


def blocks_of(languages: set[str]) -> list[Block]:
    return [block for block in all_blocks() if block.language in languages]


def ours(words: list[str]) -> list[str] | None:
    """Return the words from `edge-msa` or `edge-msa-run` on, also after a launcher; None for other commands."""
    words = [word for index, word in enumerate(words) if index or "=" not in word]
    for index, word in enumerate(words):
        if word in {"edge-msa", "edge-msa-run"}:
            return words[index:] if index == 0 else None
        if word in {"edge_msa", "edge_msa/__main__.py"}:
            return ["edge-msa", *words[index + 1 :]]
    return None


@cache
def toolkit() -> Any:
    # Any: depending on the version of Typer, the types are from click or from Typer's copy of it.
    return typer.main.get_command(app)


def parse_toolkit(words: list[str]) -> None:
    """Parse a command of `edge-msa` without running it; wrong options and values raise."""
    command = toolkit()
    context = command.make_context(words[0], words[1:])
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, arguments = command.resolve_command(context, rest)
        context = command.make_context(name, arguments, parent=context)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command of `edge-msa` that the words name, and the rest of the words."""
    command, rest = toolkit(), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


@cache
def runtime_commands() -> dict[str, Any]:
    choices = next(action.choices for action in create_parser()._actions if action.dest == "command")
    assert choices is not None
    return dict(choices)


def check_option_names(words: list[str]) -> None:
    """Check that a usage line names an existing command and only options that the command has."""
    if words[0] == "edge-msa":
        command, rest = find_command(words)
        commands = list(getattr(command, "commands", {}).values())
        default = getattr(command, "default_command", None)
        assert default or not commands or not rest or not rest[0].isalpha(), f"unknown command {rest[0]}"
        options = [option for item in (command, *commands) for option in item.params]
        known = {name for option in options for name in (*option.opts, *option.secondary_opts)} | COMPLETION
    else:
        names, rest = words[1].split("|"), words[2:]
        known = {name for item in names for name in runtime_commands()[item]._option_string_actions}
    named = {name.split("=")[0] for word in rest for name in re.findall(r"(?<![\w-])--?[a-z][\w=-]*", word)}
    assert named <= known | {"--help"}, f"unknown options {named - known}"


COMMANDS = [
    (block.place, words) for block in blocks_of(SHELL | {""}) for line in list_commands(block) if (words := ours(line))
]
INLINE = [
    (page.relative_to(REPOSITORY).as_posix(), match[1].replace("\\|", "|").split())
    for page in list_pages()
    for match in re.finditer(r"(?<!`)`(edge-msa(?:-run)? [^`]+)`(?!`)", page.read_text(encoding="utf-8"))
    if page.name != "CHANGELOG.md"  # describes commands of earlier versions too
]


def test_the_commands_of_the_documentation_are_found() -> None:
    assert len(COMMANDS) > 30
    assert len(INLINE) > 60


def test_every_command_line_parses() -> None:
    wrong = []
    for place, words in COMMANDS:
        try:
            if any(PLACEHOLDER.search(word) for word in words):
                check_option_names(words)
            elif words[0] == "edge-msa":
                parse_toolkit(words)
            else:
                create_parser().parse_args(words[1:])
        except Exception as error:  # noqa: BLE001 - the errors of Typer have no public base class
            wrong.append(f"{place}: {' '.join(words)}: {error}")
    assert wrong == []


def test_commands_in_sentences_exist_with_their_options() -> None:
    wrong = []
    for page, words in INLINE:
        try:
            check_option_names(words)
        except (AssertionError, KeyError) as error:
            wrong.append(f"{page}: {' '.join(words)}: {error}")
    assert wrong == []


def test_every_block_names_its_language() -> None:
    pages = ("docs/", "examples/")
    assert [
        block.place for block in all_blocks() if block.page.startswith(pages) and block.language not in LANGUAGES
    ] == []


def test_every_unrun_block_has_a_reason() -> None:
    markers = [block for block in all_blocks() if block.marker.startswith("not run")]
    assert [block.place for block in markers if len(block.marker.removeprefix("not run:").split()) < 2] == []


def test_every_block_with_a_test_of_its_own_is_read_by_one() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    names = [block.marker for block in all_blocks() if block.marker.startswith("test:")]
    assert names
    assert [name for name in names if f"<!-- {name} -->" not in sources] == []


def test_every_toml_block_is_valid() -> None:
    for block in blocks_of({"toml"}):
        tomllib.loads(block.text)
