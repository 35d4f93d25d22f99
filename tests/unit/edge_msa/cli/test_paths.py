"""Every command checks all its outputs before it starts. The commands come from the application itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

import pytest
import typer.main

from edge_msa.cli import run
from edge_msa.cli.app import app
from edge_msa.cli.paths import FILE, INPUT, Input, Output, path_marks

pytestmark = pytest.mark.case("F20")


def leaf_commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the names and the object of every command that is not a group."""
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield names, command
    for name, subcommand in (subcommands or {}).items():
        yield from leaf_commands(subcommand, (*names, name))


COMMANDS = dict(leaf_commands(typer.main.get_command(app)))
OUTPUTS = [
    pytest.param(names, name, mark.kind, id=f"{' '.join(names)} {name}")
    for names, command in COMMANDS.items()
    for name, _, mark in path_marks(command.callback)
    if isinstance(mark, Output)
]


def contains_path(annotation: Any) -> bool:
    return annotation is Path or any(map(contains_path, get_args(annotation)))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_path_parameter_is_marked_as_input_or_output(names: tuple[str, ...]) -> None:
    for name, annotation, mark in path_marks(COMMANDS[names].callback):
        assert mark is not None or not contains_path(annotation), name
        if name.startswith("output") or name in {"predictions", "tensorboard"}:
            assert isinstance(mark, Output), name
        if name in {"data", "file", "encoder", "transcripts", "transfer"}:
            assert isinstance(mark, Input), name


def example_value(annotation: Any) -> str:
    """Return a valid value of a parameter that is not a path."""
    for item in (annotation, *get_args(annotation)):
        if get_origin(item) is Literal:
            return str(get_args(item)[0])
    return "1"


def fill(names: tuple[str, ...], output: str, path: str, inputs: str) -> list[str]:
    """Return the arguments of a command with `path` as one output, and something for all other parameters it needs."""
    marks = {name: (annotation, mark) for name, annotation, mark in path_marks(COMMANDS[names].callback)}
    options: list[str] = []
    arguments: list[str] = []
    for parameter in COMMANDS[names].params:
        if parameter.name not in marks:  # --overwrite and --verbose
            continue
        annotation, mark = marks[parameter.name]
        if parameter.name == output:
            value = path
        elif not parameter.required and mark != INPUT:
            continue
        elif mark is None:
            value = example_value(annotation)
        else:
            value = "other" if isinstance(mark, Output) else inputs
        if parameter.param_type_name == "argument":
            arguments.append(value)
        else:
            options += [parameter.opts[0], value]
    return [*names, *options, "--", *arguments]


@pytest.mark.parametrize(("names", "output", "kind"), OUTPUTS)
def test_an_unusable_output_is_refused_before_the_command_starts(
    names: tuple[str, ...],
    output: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def start(*_: Any) -> NoReturn:
        raise AssertionError("The command has started.")

    monkeypatch.setattr("typer.core.TyperCommand.invoke", start)
    monkeypatch.chdir(tmp_path)
    for name in ("inputs", "folder"):
        Path(name).mkdir()
    Path("file").touch()
    cases = [("file/x", "file is not a folder")]
    cases += [("/proc/x/y", "/proc is not writable")] if sys.platform == "linux" else []
    cases += [("folder", "is a folder")] if kind == FILE else [("file", "is a file")]
    if INPUT in (mark for _, _, mark in path_marks(COMMANDS[names].callback)):
        cases += [("inputs/x", "is inside the input"), ("inputs", "input" if kind != FILE else "is a folder")]
    for path, message in cases:
        assert run(fill(names, output, path, "inputs")) == 2
        assert message in capsys.readouterr().err
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder", "inputs"]
