"""With `--json`, stdout has one line of JSON and nothing else, whatever a command prints."""

from __future__ import annotations

import json

import pytest

from edge_msa.console import (
    command_messages,
    print_json,
    print_note,
    print_output,
    print_progress,
    print_result,
    print_step,
)
from tests.locations import REPOSITORY
from tests.unit.edge_msa.cli.commands import LEAVES, find_context


def has_json(name: str) -> bool:
    return any("--json" in item.opts for item in find_context(name).command.params)


WITH_JSON = [name for name in LEAVES if has_json(name)]


def run_fake(*, json: bool) -> None:
    print_step("train")
    print_progress("epoch 1")
    print_note("clipped")
    print_result("a table")
    print_output("license", REPOSITORY / "LICENSE", "edge-msa report x")
    if json:
        print_json({"a": 1})


def test_most_commands_have_json() -> None:
    assert {"evaluate", "bench bundle", "data inspect", "devices list", "pipeline", "demo"} <= set(WITH_JSON)


@pytest.mark.parametrize("name", WITH_JSON)
def test_only_json_is_on_stdout(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    context = find_context(name)
    monkeypatch.setattr(context.command, "callback", run_fake)  # other tests use the same command
    context.params = {"json": True}
    with command_messages():
        context.command.invoke(context)
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    for text in ("== train", "epoch 1", "note: clipped", "a table", "license: ", "next: edge-msa report x"):
        assert text in err
