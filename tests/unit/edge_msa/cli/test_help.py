"""Help texts of every command: complete, in plain sentences, without Python types."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from edge_msa.cli import run
from edge_msa.cli.app import app
from edge_msa.cli.help import HELP
from edge_msa.cli.help_page import COMMAND_SECTIONS, OPTION_SECTIONS, HelpPage, describe

GROUPS = ("data", "import", "text", "bench", "devices")
ROOT: Any = typer.main.get_command(app)


def command_lines() -> list[str]:
    """Return the names of all commands, those of groups with the name of their group."""
    lines = [""]
    for name, command in ROOT.commands.items():
        lines.append(name)
        lines += [f"{name} {subcommand}" for subcommand in getattr(command, "commands", ())]
    return lines


COMMANDS = command_lines()


def help_page(command: str) -> HelpPage:
    context = ROOT.context_class(ROOT, info_name="edge-msa", help_option_names=list(HELP))
    for name in command.split():
        subcommand = context.command.commands[name]
        context = subcommand.context_class(subcommand, info_name=name, parent=context)
    return describe(context.command, context)


def help_text(command: str) -> str:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    return result.output


def test_all_groups_have_sub_commands() -> None:
    for group in GROUPS:
        assert any(command.startswith(f"{group} ") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_have_at_most_80_columns_and_nothing_is_cut_off(command: str) -> None:
    text = help_text(command)
    assert max(map(len, text.split("\n"))) <= 80
    assert "..." not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_no_python_types_are_shown(command: str) -> None:
    leaked = r"<\w|\b(?:TEXT|INTEGER|FLOAT|PATH|RANGE|BOOLEAN|None|Path|Literal)\b|\[default|x>="
    assert re.findall(leaked, help_text(command)) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_row_is_a_sentence(command: str) -> None:
    page = help_page(command)
    for title, rows in page.sections:
        assert title in (*OPTION_SECTIONS, *COMMAND_SECTIONS)
        for row in rows:
            assert re.fullmatch(r"[A-Z].*\.", row.text), row


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_summary_of_one_sentence(command: str) -> None:
    summary = help_page(command).description[0]
    assert re.fullmatch(r"[A-Z][^.]*(?:\.npz[^.]*)?\.", summary)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_valid_command_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parse the example and check its outputs. The example of a group may be that of a sub-command."""
    parsed: list[str] = []
    monkeypatch.setattr("typer.core.TyperCommand.invoke", lambda self, _: parsed.append(self.name))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(help_page(command).example.replace("\\\n", " ").partition(">")[0])
    assert words[: 1 + len(command.split())] == ["edge-msa", *command.split()]
    assert run(words[1:]) == 0, capsys.readouterr().err
    assert len(parsed) == 1


def test_the_commands_are_in_sections() -> None:
    titles = [title for title, _ in help_page("").sections]
    assert titles[:6] == list(COMMAND_SECTIONS[:-1])
