from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edge_msa.errors import UsageError
from edge_msa.evaluation.reproduction.record import Reproduction, SeedSummary, VariantResult
from edge_msa.workflows.report import report, write_report


def reproduction() -> Reproduction:
    metrics = {"f1_non0": SeedSummary.from_values([0.5]), "mae": SeedSummary.from_values([1.0])}
    conditions = {"lav": metrics} | {f"lav dropped {share / 10:g}": metrics for share in range(1, 11)}
    constant = {"lav": {"f1_non0": 0.4, "mae": 1.2}}
    return Reproduction(
        model="hrlf",
        paper="none",
        dataset="toy",
        digest="feed",
        task="mosi",
        recipe={},
        seeds=(0,),
        samples={"train": 4, "valid": 4, "test": 4},
        subsets=("lav",),
        counts={"lav": 4},
        headline="f1_non0",
        noise=False,
        variants=(VariantResult("full", "full", {}, ("run",), conditions, {}),),
        baselines={"median": constant, "best_constant": constant},
        baseline_constants={"median": (0.0,), "best_constant": (0.0,)},
    )


@pytest.mark.case("F33")
@pytest.mark.usefixtures("printing")
def test_a_folder_with_a_reproduction_only_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = reproduction()
    (tmp_path / "reproduce.json").write_text(json.dumps(record.to_json()))
    (tmp_path / "damaged.json").write_text("{")
    old = {**dataclasses.replace(record, dataset="old").to_json(), "schema": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    result = write_report([tmp_path], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "HRLF on toy: 4 test samples" in page
    assert "Accuracy and latency</h2>" not in page
    printed = capsys.readouterr()
    assert f"Also in the report: reproduction: {tmp_path / 'reproduce.json'}" in str(result)
    for name in ("damaged.json", "old.json"):
        assert f"note: skipped {tmp_path / name}: " in printed.err
        assert str(tmp_path / name) in page


@pytest.mark.parametrize("in_pipeline", [False, True])
@pytest.mark.usefixtures("printing")
def test_a_pipeline_does_not_list_its_own_runs_as_skipped(
    in_pipeline: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reproduce.json").write_text(json.dumps(reproduction().to_json()))
    (tmp_path / "measured" / "bundle").mkdir(parents=True)
    (tmp_path / "measured" / "bundle" / "manifest.json").write_text("{}")
    write_report([tmp_path], tmp_path / "report.html", in_pipeline=in_pipeline)
    assert ("bundle: a bundle, not a measurement" in (tmp_path / "report.html").read_text()) is not in_pipeline
    assert ("bundle: a bundle, not a measurement" in capsys.readouterr().err) is not in_pipeline


@pytest.mark.parametrize("name", ["report.txt", "report", "report.HTM"])
def test_an_unknown_format_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "reproduce.json").write_text(json.dumps(reproduction().to_json()))
    with pytest.raises(UsageError, match=r"output must end in \.html, \.md, \.csv or \.json, got report"):
        report(tmp_path, output=tmp_path / name)
    assert not (tmp_path / name).exists()
