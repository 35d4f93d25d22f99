from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge_msa_runtime.cli.main import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: Any, fails: bool = False) -> str:
    """Run a command, and return what it prints: its result, or the error if it `fails`."""
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert bool(code) == fails, printed.err
    return printed.err if fails else printed.out


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text\ni love it\nthe\nnot the film\ni hate films !\n", "utf-8")
    return path


def test_info_describes_the_members_and_when_they_are_asked(
    shared_cascade: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _run(capsys, "info", shared_cascade, "--json")
    lines = out.splitlines()
    assert lines[0] == "fake-cascade: a cascade of small, then large"
    assert "  l         mean time 40 % of large alone (each: small 25 %, large 100 %)" in lines
    assert "            large is asked if the spread of small is more than 0.5" in lines
    description = json.loads(lines[-1])
    assert list(description["members"]) == ["small", "large"]
    assert description["routes"]["l"]["thresholds"] == [0.5, None]


def test_verify_checks_every_member(shared_cascade: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = _run(capsys, "verify", shared_cascade, "--json")
    assert out.count("golden predictions match") == 2
    assert [item["passed"] for item in json.loads(out.splitlines()[-1])] == [True, True]


def test_predict_states_the_member(shared_cascade: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "subset l by small, " in _run(capsys, "predict", shared_cascade, "--text", "the")
    rows = [line.split(",") for line in _run(capsys, "predict", shared_cascade, "--data", texts).splitlines()]
    column = rows[0].index("member")
    assert [row[column] for row in rows[1:]] == ["large", "small", "small", "large"]


def test_bench_measures_a_cascade_and_its_members_on_samples(
    shared_cascade: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = _run(capsys, "bench", shared_cascade, "--data", texts, "--repeats", 8, "--warmup", 0, "--json")
    cascade, small, large = json.loads(out.splitlines()[-1])
    assert cascade["latencies"][0]["answered"] == {"large": 0.5, "small": 0.5}
    assert small["latencies"][0]["answered"] == large["latencies"][0]["answered"] == {}
    assert cascade["file_bytes"] == small["file_bytes"] + large["file_bytes"]
    assert "; asked last: large 50 %, small 50 %" in out
    assert out.count("  mean ") == 3


def test_bench_needs_inputs_for_a_cascade(
    shared_cascade: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Pass --data FILE" in _run(capsys, "bench", shared_cascade, fails=True)
    both = _run(capsys, "bench", shared_cascade, "--data", texts, "--text", "the", fails=True)
    assert "without --text and --streams" in both


@pytest.mark.parametrize("command", [("verify", "--all"), ("bench", "--all"), ("build",)])
def test_what_needs_one_bundle_refuses_a_cascade_in_one_line(
    shared_cascade: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    name, *options = command
    error = _run(capsys, name, shared_cascade, *options, fails=True)
    assert error.count("\n") == 1
    assert "It is a cascade. Pass the folder of a bundle." in error
