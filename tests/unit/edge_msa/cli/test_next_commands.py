from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from edge_msa.cli import run
from edge_msa.cli.next_commands import suggest_next
from tests.unit.edge_msa.cli.commands import LEAVES, find_context


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "my bundle-laptop"
    path.mkdir()
    (path / "manifest.json").touch()
    return path


@pytest.mark.parametrize("command", LEAVES)
def test_suggested_commands_can_be_parsed(command: str, bundle: Path) -> None:
    (bundle.parent / "bundle-laptop").mkdir()
    (bundle.parent / "a-seed0").mkdir()
    values: dict[str, Any] = {
        "path": bundle,
        "bundles": [bundle],
        "output_dir": bundle.parent,
        "output": Path("page.html"),
        "data": "my data.pkl",
        **dict.fromkeys(("file", "run", "model"), Path("x y")),
    }
    suggestion = suggest_next(command, values)
    if suggestion is None:
        return
    program, *words = shlex.split(suggestion)
    if program == "python":
        assert words == ["-m", "webbrowser", "page.html"]
        return
    assert program == "edge-msa"
    name = (
        next(item for item in sorted(LEAVES, key=len, reverse=True) if words[: len(item.split())] == item.split())
        if words[0] != "bench"
        else "bench bundle"
    )
    rest = words[1:] if name == "bench bundle" else words[len(name.split()) :]
    context = find_context(name)
    context.command.make_context(name, rest, parent=context.parent)


def test_a_bundle_is_measured_after_an_evaluation_and_a_run_is_explained(bundle: Path) -> None:
    values = {"path": bundle, "data": None}
    assert suggest_next("evaluate", values) == f"edge-msa bench '{bundle}'"
    run_values = {"path": Path("teacher"), "data": "mosi.pkl"}
    expected = "edge-msa explain teacher --data mosi.pkl --output explanation.html"
    assert suggest_next("evaluate", run_values) == expected


def test_a_table_of_transcripts_trains_a_text_model() -> None:
    expected = "edge-msa text train --transcripts talk.csv --encoder wordpieces --output-dir words"
    assert suggest_next("data inspect", {"file": "talk.csv"}) == expected
    assert suggest_next("data inspect", {"file": "mosi.pkl"}) == "edge-msa train --data mosi.pkl --output-dir teacher"


def test_a_bundle_of_own_data_is_evaluated_on_this_data(bundle: Path) -> None:
    assert suggest_next("inspect", {"path": bundle}) == f"edge-msa evaluate '{bundle}' --data FILE"


def test_a_pipeline_names_the_bundle_that_runs_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bundle-jetson", "bundle-laptop"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    values: dict[str, Any] = {"output_dir": tmp_path, "data": "mosi.pkl"}
    assert suggest_next("pipeline", values) is None
    monkeypatch.setattr("edge_msa.benchmark.machine.can_run", lambda path: path.name == "bundle-laptop")
    assert suggest_next("pipeline", values) == f"edge-msa evaluate {tmp_path}/bundle-laptop --data mosi.pkl"
    assert (
        suggest_next("pipeline", {**values, "data": None}) == f"edge-msa evaluate {tmp_path}/bundle-laptop --data FILE"
    )


@pytest.mark.parametrize("command", ["devices show", "config show", "predict"])
def test_commands_whose_output_is_a_file_suggest_nothing(command: str) -> None:
    assert suggest_next(command, {"model": Path("x"), "output": None}) is None


def test_a_command_ends_with_the_next_one_unless_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devices"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "next: edge-msa devices show laptop-x86"
    assert run(["devices", "-q"]) == 0
    assert "next:" not in capsys.readouterr().out
