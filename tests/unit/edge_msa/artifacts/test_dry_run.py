from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NoReturn

import pytest

from edge_msa.artifacts import runs
from edge_msa.artifacts.dry_run import (
    Plan,
    PlannedStep,
    declare_steps,
    dry_run,
    end_dry_run,
    independent_step,
    report_lookup,
    report_work,
)
from edge_msa.artifacts.durations import record_seconds
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import find_current_run, new_run


def request(command: str = "train hrlf", **recipe: object) -> Request:
    return Request(command, {"epochs": 2, **recipe}, 0, {"data": "digest"})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def look_up(output: Path, requested: Request) -> Plan:
    continues = []
    with dry_run() as plan:
        find_current_run(output, requested)
        continues.append(True)
    assert not continues
    return plan


def test_a_step_without_a_result_would_run_and_nothing_is_written(tmp_path: Path) -> None:
    (step,) = look_up(tmp_path / "teacher", request()).steps
    assert step == PlannedStep("train hrlf", tmp_path / "teacher", "runs")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_attempt_of_the_same_request_would_resume(tmp_path: Path) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    with (
        contextlib.suppress(KeyboardInterrupt),
        new_run(tmp_path / "teacher", request().cache_key) as work,
    ):
        (work / "checkpoint.pt").touch()
        interrupt()
    before = contents(tmp_path)
    assert look_up(tmp_path / "teacher", request()).steps[0].state == "resumes"
    assert look_up(tmp_path / "teacher", request(seed=1)).steps[0].state == "runs"
    assert contents(tmp_path) == before


def test_a_finished_attempt_that_was_not_renamed_stays_in_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[Path] = []
    monkeypatch.setattr(runs, "_finish_replacement", lambda path, _key: finished.append(path))
    look_up(tmp_path / "teacher", request())
    assert not finished


def test_later_steps_run_if_an_earlier_one_does(tmp_path: Path) -> None:
    outputs = {name: tmp_path / name for name in ("train", "distill", "export")}
    record_seconds(outputs["export"], "export", {}, 12)
    with dry_run() as plan:
        declare_steps(list(outputs.items()))
        report_lookup(outputs["train"], request(), is_current=True)
        report_lookup(outputs["distill"], request("distill"), is_current=False)
    assert [(step.name, step.state, step.seconds) for step in plan.steps] == [
        ("train", "cached", None),
        ("distill", "runs", None),
        ("export", "runs", 12.0),
    ]


def test_independent_steps_are_all_looked_up(tmp_path: Path) -> None:
    reached: list[int] = []
    with dry_run() as plan:
        for seed in range(3):
            with independent_step():
                report_lookup(tmp_path / str(seed), request(), is_current=seed == 1)
                reached.append(seed)
        report_work("12 trials", "runs")
        end_dry_run()
        reached.append(-1)
    assert reached == [1]
    assert [step.state for step in plan.steps] == ["runs", "cached", "runs", "runs"]


def test_without_a_dry_run_nothing_ends(tmp_path: Path) -> None:
    with independent_step():
        report_lookup(tmp_path, request(), is_current=False)
    declare_steps([("train", tmp_path)])
    report_work("trials", "runs")
    end_dry_run()
