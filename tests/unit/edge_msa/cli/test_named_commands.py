"""Every command line in messages, docstrings and the Makefile has options that exist.

`tests/unit/docs` checks those of the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edge_msa_runtime.cli.main import create_parser
from tests.locations import REPOSITORY
from tests.unit.edge_msa.cli.commands import COMMANDS, find_context

PACKAGES = ("edge_msa", "export", "calibrate", "runtime", "examples")
FILES = [REPOSITORY / "Makefile", *(path for name in PACKAGES for path in (REPOSITORY / name).rglob("*.py"))]
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


def test_commands_in_messages_and_docstrings_have_options_that_exist() -> None:
    lines = {path: list(command_lines(path.read_text(encoding="utf-8"))) for path in FILES}
    assert sum(map(len, lines.values())) > 100
    wrong = {(path.name, line): found for path in FILES for line in lines[path] if (found := unknown_options(line))}
    assert wrong == {}
