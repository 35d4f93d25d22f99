"""The benchmark of streams that lose data, with a bundle of a small pipeline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edge_msa
from edge_msa.workflows import bench_streams
from edge_msa.workflows.export import ExportedBundle

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult, PipelineRun

    Command = Callable[..., CommandResult]


def results(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the rows of the JSON on stdout by model and scenario."""
    return {(row["model"], row["scenario"]): row for row in json.loads(out)["streams"]}


@pytest.mark.slow
def test_every_bundle_and_baseline_is_measured(pipeline_run: PipelineRun, edge_msa: Command) -> None:
    bundle = pipeline_run.folder / "bundle-laptop"
    options = ("--scenario", "clean", "--scenario", "lossy", "--utterances", "6", "--json")
    first = edge_msa("bench", "streams", bundle, *options)
    assert first.code == 0, first.err
    rows = results(first.out)
    assert {model for model, _ in rows} == {
        "bundle-laptop fp32",
        "bundle-laptop int8",
        "hold prediction",
        "repeat frame",
        "no memory",
        "prior",
    }
    clean, lossy = rows["bundle-laptop fp32", "clean"], rows["bundle-laptop fp32", "lossy"]
    assert clean["regret"] == pytest.approx(rows["hold prediction", "clean"]["regret"])
    assert clean["relative_to_hold_prediction"] is None  # nothing is missing
    assert lossy["relative_to_hold_prediction"] == pytest.approx(
        lossy["regret"] / rows["hold prediction", "lossy"]["regret"]
    )
    assert [item["time"] for item in lossy["by_time"]][:2] == [0.4, 0.8]
    assert "regret relative to" in first.err
    assert edge_msa("bench", "streams", bundle, *options).out == first.out
    other = results(edge_msa("bench", "streams", bundle, *options, "--seed", "1").out)
    assert other["bundle-laptop fp32", "lossy"]["regret"] != lossy["regret"]


def test_scenario_can_be_a_file(pipeline_run: PipelineRun, tmp_path: Path) -> None:
    path = tmp_path / "silent.json"
    path.write_text(json.dumps({"modalities": {"audio": {"absent": [[0, 99]]}}}))
    bundle = pipeline_run.folder / "bundle-laptop"
    table = edge_msa.bench_streams(bundle, scenarios=path, utterances=4)
    assert {row["scenario"] for row in table.rows} == {"silent"}
    assert repr(table) == "<StreamBenchmark of bundle-laptop fp32, bundle-laptop int8: silent>"


def test_bundles_with_the_same_folder_name_have_different_names(pipeline_run: PipelineRun, tmp_path: Path) -> None:
    bundle = pipeline_run.folder / "bundle-laptop"
    other = shutil.copytree(bundle, tmp_path / "other" / "bundle-laptop")
    table = edge_msa.bench_streams([bundle, other, bundle], scenarios="lagging", utterances=2)
    models = [str(row["model"]) for row in table.rows if not row["baseline"]]
    assert models == [f"{path} {precision}" for path in (bundle, other) for precision in ("fp32", "int8")]


def test_scenarios_with_the_same_name_are_refused(edge_msa: Command, tmp_path: Path) -> None:
    (tmp_path / "lossy.json").write_text("{}")
    result = edge_msa("bench", "streams", tmp_path, "--scenario", "lossy", "--scenario", tmp_path / "lossy.json")
    assert result.code == 2
    assert "Scenarios must have different names, got 'lossy' twice" in result.error_line


def test_unknown_scenario_is_refused_before_anything_is_measured(edge_msa: Command, tmp_path: Path) -> None:
    result = edge_msa("bench", "streams", tmp_path, "--scenario", "rainy")
    assert result.code == 2
    assert "'rainy'" in result.error_line


@pytest.mark.slow
def test_bundle_for_other_data_is_refused(exported_bundle: Callable[[str, str], Path], edge_msa: Command) -> None:
    bundle = exported_bundle("laptop-x86", "table")
    result = edge_msa("bench", "streams", bundle, "--utterances", "2")
    assert result.code == 1
    assert f"{bundle} is not a bundle for the synthetic data" in result.error_line


def test_default_student_is_measured_if_no_bundle_is_passed(
    pipeline_run: PipelineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[dict[str, Any]] = []

    def export(**options: Any) -> ExportedBundle:
        exported.append(options)
        return ExportedBundle.of(pipeline_run.folder / "bundle-laptop")

    monkeypatch.setattr(bench_streams, "export", export)
    assert edge_msa.bench_streams(scenarios="lagging", utterances=2).rows
    assert exported == [{"target": "laptop", "output_dir": Path("runs/bundle-laptop")}]
