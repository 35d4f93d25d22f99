"""Every command line in the documentation and in messages of the code has options that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import pytest

from edge_msa_runtime.cli.main import create_parser
from tests.locations import REPOSITORY
from tests.unit.edge_msa.cli.commands import COMMANDS, find_context

TEXTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for pattern in ("README.md", "docs/**/*.md", "examples/**/*.md", "examples/**/*.py", "edge_msa/**/*.py", "Makefile")
    for path in REPOSITORY.glob(pattern)
)
PROGRAMS = r"(?<![\w./-])(edge-msa-run|edge-msa)(?![\w-])"


def toolkit_options() -> dict[str, set[str]]:
    found = {}
    for name in COMMANDS:
        context = find_context(name)
        parameters = context.command.get_params(context)
        options = {option for item in parameters for option in (*item.opts, *item.secondary_opts)}
        found[name] = {option for option in options if option.startswith("-")}
    found["bench"] |= found["bench bundle"]
    found["devices"] |= found["devices list"]
    return found


def runtime_options() -> dict[str, set[str]]:
    parser = create_parser()
    (commands,) = (item.choices for item in parser._actions if item.dest == "command")
    assert isinstance(commands, Mapping)
    parsers = {"": parser, **commands}
    return {
        name: {option for action in item._actions for option in action.option_strings} for name, item in parsers.items()
    }


OPTIONS = {"edge-msa": toolkit_options(), "edge-msa-run": runtime_options()}


def command_lines(text: str) -> Iterator[str]:
    """Yield what follows the name of a program, up to the end of the code span, the string or the shell command."""
    text = re.sub(r"\\\n\s*", " ", text)
    for match in re.finditer(PROGRAMS + r" ([^`\n]*)", text):
        yield f"{match[1]} " + re.split(r" # |  #|\||[;\"')]|&&| > |\. ", match[2].replace(r"\|", "/"))[0]


def find_command(words: list[str], names: Mapping[str, object]) -> str:
    """Return the longest command that the first words name."""
    name = ""
    for word in words:
        if f"{name} {word}".strip() not in names:
            break
        name = f"{name} {word}".strip()
    return name


def unknown_options(line: str) -> list[str]:
    program, *words = line.split()
    options = OPTIONS[program]
    name = find_command(words, options)
    # `text train/distill` and `COMMAND` stand for several commands.
    allowed = options[name] if name and not any("/" in word for word in words[:2]) else set().union(*options.values())
    return [word for word in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line) if word not in allowed]


def test_wrong_lines_are_found() -> None:
    text = "`edge-msa calibrate RUN --model x` and\n```\nedge-msa export RUN \\\n  --taget y  # --no\n```\n"
    text += "`edge-msa -v train`"
    assert [unknown_options(line) for line in command_lines(text)] == [["--model"], ["--taget"], []]
    assert unknown_options("edge-msa-run bench BUNDLE --num-runs 3") == ["--num-runs"]


@pytest.mark.parametrize("path", TEXTS)
def test_documented_options_exist(path: str) -> None:
    text = (REPOSITORY / path).read_text(encoding="utf-8")
    wrong = {line: unknown for line in command_lines(text) if (unknown := unknown_options(line))}
    assert wrong == {}


def test_the_readme_mentions_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert any(find_command(line.split()[1:], OPTIONS["edge-msa"]) for line in command_lines(readme))
