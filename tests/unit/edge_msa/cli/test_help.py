"""Help texts of every command: complete, in plain sentences, without Python types."""

from __future__ import annotations

import re

import pytest
import typer.main
from typer.testing import CliRunner

from edge_msa.cli.app import app

GROUPS = ("data", "import", "text", "bench")
ROOT = typer.main.get_command(app)


def command_lines() -> list[str]:
    """Return the names of all commands, those of groups with the name of their group."""
    lines = [""]
    for name, command in ROOT.commands.items():  # type: ignore[attr-defined]
        lines.append(name)
        lines += [f"{name} {subcommand}" for subcommand in getattr(command, "commands", ())]
    return lines


COMMANDS = command_lines()


def help_text(command: str) -> str:
    result = CliRunner().invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    return result.output


def test_all_groups_have_sub_commands() -> None:
    for group in GROUPS:
        assert any(command.startswith(f"{group} ") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_summary_is_cut_off(command: str) -> None:
    assert "..." not in help_text(command).partition("Commands:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_python_types_are_shown(command: str) -> None:
    assert re.findall(r"<(?:str|int|float|path|list|bool)\b[^>]*>|\b(?:TEXT|INTEGER|FLOAT)\b", help_text(command)) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_described(command: str) -> None:
    options = help_text(command).partition("Options:")[2].partition("Commands:")[0]
    for entry in re.split(r"\n  (?=-)", options)[1:]:
        description = re.sub(r" \[[^\[\]]*\]$", "", " ".join(entry.split()))
        assert description.endswith("."), entry


@pytest.mark.parametrize("command", [name for name in COMMANDS if name and name not in GROUPS])
def test_every_command_is_described_in_sentences(command: str) -> None:
    summary = help_text(command).split("\n\n")[1].strip()
    assert summary[0].isupper()
    assert summary.endswith(".")
