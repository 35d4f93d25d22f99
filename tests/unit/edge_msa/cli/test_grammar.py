"""One grammar: an argument is what a command acts on, and an option means the same in every command."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

from edge_msa.cli.paths import path_marks
from tests.unit.edge_msa.cli.commands import LEAVES, find_context, help_page

ARGUMENTS = {
    "calibrate": ["RUN"],
    "sensitivity": ["RUN"],
    "export": ["[RUN]"],
    "inspect": ["BUNDLE|FILE"],
    "predict": ["RUN|BUNDLE"],
    "evaluate": ["RUN|BUNDLE"],
    "report": ["[FOLDERS]"],
    "explain": ["RUN"],
    "cascade": ["BUNDLES"],
    "keygen": ["KEY"],
    "sign": ["BUNDLE"],
    "bench asr": ["BUNDLE"],
    "bench bundle": ["BUNDLES"],
    "bench layers": ["BUNDLE"],
    "bench selfcheck": ["BUNDLE"],
    "bench live": ["BUNDLE"],
    "bench models": ["MODELS"],
    "bench peers": ["MODELS"],
    "bench runtime": ["[BUNDLE]"],
    "bench streams": ["[BUNDLES]"],
    "config show": ["[MODEL]"],
    "config validate": ["FILE"],
    "data inspect": ["FILE"],
    "data convert": ["FILE"],
    "data encode": ["FILE"],
    "devices show": ["TARGET"],
    "features extract": ["FOLDER"],
    "pretrained get": ["NAME"],
    "pretrained info": ["NAME"],
    "pretrained push": ["BUNDLE"],
    "import almt": ["FILE"],
    "text prune-vocabulary": ["RUN"],
}
"""Arguments of the commands that have any."""
COMMON = ("--recipe", "--model", "--data", "--output-dir", "--output", "--target", "--seed", "--json")


def base_type(annotation: Any) -> str:
    """Return the type of one value of an option. Names from a list of choices are strings."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return base_type(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return base_type(next(item for item in get_args(annotation) if item is not type(None)))
    if origin is list:
        return base_type(get_args(annotation)[0])
    return "str" if origin is Literal else str(annotation.__name__)


def options() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Yield name, command, meaning and form of every option.

    The meaning is the first sentence of its help, up to a list of values.
    """
    for command in LEAVES:
        click_command = find_context(command).command
        types = {name: annotation for name, annotation, _ in path_marks(click_command.callback)}
        for item in click_command.params:
            if item.param_type_name == "option" and item.name in types:
                meaning = re.split(r"[.:](?: |$)", " ".join(item.help.split()))[0]
                form = (str(None if item.is_flag else item.metavar), base_type(types[item.name]), *item.opts)
                yield item.opts[0], command, meaning, form


def test_an_option_means_the_same_in_every_command() -> None:
    meanings: dict[str, dict[Any, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command, meaning, form in options():
        meanings[name][meaning, form].append(command)
    assert {name: dict(found) for name, found in meanings.items() if len(found) > 1} == {}
    assert [name for name in COMMON if sum(map(len, meanings[name].values())) < 2] == []


@pytest.mark.parametrize("command", LEAVES)
def test_an_argument_is_what_the_command_acts_on(command: str) -> None:
    sections = dict(help_page(command).sections)
    assert [row.names for row in sections.get("Arguments", ())] == ARGUMENTS.get(command, [])
