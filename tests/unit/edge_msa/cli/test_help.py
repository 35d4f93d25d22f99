"""Help pages of every command: complete, in plain sentences, within 80 columns, and with an example that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge_msa.benchmark.layers import PROFILED_BACKENDS
from edge_msa.cli import run
from edge_msa.cli.help_page import COMMAND_SECTIONS, OPTION_SECTIONS
from edge_msa_runtime.backend_info import BACKEND_INFO
from tests.unit.edge_msa.cli.commands import COMMANDS, LEAVES, ROOT, help_page

WIDTH = 78
"""Columns that Typer uses on a terminal of 80 columns."""


def test_all_groups_have_sub_commands() -> None:
    for group in ("data", "import", "text", "bench", "devices", "config", "pretrained"):
        assert any(command.startswith(f"{group} ") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_have_at_most_80_columns_and_nothing_is_cut_off(command: str) -> None:
    text = help_page(command).format(WIDTH)
    assert max(map(len, text.split("\n"))) <= 80
    assert "..." not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_no_python_types_are_shown(command: str) -> None:
    leaked = r"<\w|\b(?:TEXT|INTEGER|FLOAT|PATH|RANGE|BOOLEAN|None|Path|Literal)\b|\[default|x>="
    assert re.findall(leaked, help_page(command).format(WIDTH)) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_row_is_a_sentence(command: str) -> None:
    for title, rows in help_page(command).sections:
        assert title in (*OPTION_SECTIONS, *COMMAND_SECTIONS)
        for row in rows:
            assert re.fullmatch(r"[A-Z].*\.", row.text), row


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_summary_of_one_sentence(command: str) -> None:
    assert re.fullmatch(r"[A-Z][^.]*(?:\.npz[^.]*)?\.", help_page(command).description[0])


@pytest.mark.parametrize("command", LEAVES)
def test_more_than_ten_options_are_in_several_sections(command: str) -> None:
    for title, rows in help_page(command).sections:
        assert len(rows) <= 11, title


@pytest.mark.parametrize("command", COMMANDS)
def test_every_example_is_a_valid_command_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Parse the example and check its outputs. The example of a group may be that of a sub-command."""
    parsed: list[str] = []
    monkeypatch.setattr("typer.core.TyperCommand.invoke", lambda self, _: parsed.append(self.name))
    monkeypatch.setattr("typer.main.get_command", lambda _: ROOT)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(help_page(command).example.replace("\\\n", " ").partition(">")[0])
    assert words[: 1 + len(command.split())] == ["edge-msa", *command.split()]
    assert run(words[1:]) == 0, capsys.readouterr().err
    assert len(parsed) == 1


def test_the_commands_are_in_sections() -> None:
    titles = [title for title, _ in help_page("").sections]
    assert titles[:6] == list(COMMAND_SECTIONS[:-1])


def test_help_on_a_pipe_has_at_most_80_columns() -> None:
    for name in ("COLUMNS", "_"):
        done = subprocess.run(
            [sys.executable, "-m", "edge_msa", "search", "-h"],
            env={"PATH": "", "PYTHONPATH": ":".join(sys.path), name: "80"},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.splitlines()
        assert 70 < max(map(len, lines)) <= 80
        assert lines[0].startswith("Usage: edge-msa search --target NAME")


def test_profiling_offers_the_backends_that_it_can_profile() -> None:
    (text,) = (
        row.text for _, rows in help_page("bench layers").sections for row in rows if row.names.startswith("--backend")
    )
    assert [name for name in BACKEND_INFO if name in text] == sorted(PROFILED_BACKENDS)
