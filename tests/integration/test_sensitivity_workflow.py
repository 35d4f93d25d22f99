"""From a calibrated student to a mixed-precision plan and a bundle that follows it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_msa.artifacts.runs import load_run
from edge_msa.data.dataset import Split
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_dataset
from edge_msa.quantization.calibration_files import Calibration, load_calibration
from edge_msa_runtime.bundle.loader import open_bundle

if TYPE_CHECKING:
    from tests.conftest import Once
    from tests.integration.conftest import CommandResult, PipelineRun

    Command = Callable[..., CommandResult]

pytestmark = pytest.mark.slow

SCHEME = "ort-x86-vnni"
# No INT8 layer is this close to fp32, so some layers must stay fp32.
STRICT_LIMITS = ("--max-drop", "100", "--max-distance", "1e-3")


def calibration_of(path: Path) -> Calibration:
    calibration = load_calibration(load_run(path, "calibration"))
    assert calibration is not None
    return calibration


def plan_scores(path: Path) -> list[dict[str, Any]]:
    scores: list[dict[str, Any]] = json.loads((path / f"plan-scores-{SCHEME}.json").read_text())["scores"]
    return scores


@pytest.fixture(scope="session")
def profile(once: Once) -> Path:
    """Return the profile of a laptop with only ONNX Runtime, so that there is only one quantization scheme."""
    return once("device-profile", write_profile) / "own.toml"


def write_profile(folder: Path) -> None:
    lines = ['name = "own"', 'description = "for a test"', 'family = "own"', 'architecture = "x86_64"', "vnni = true"]
    backend = ["[[backends]]", 'name = "onnxruntime"', 'precisions = ["fp32", "int8"]', f'scheme = "{SCHEME}"']
    (folder / "own.toml").write_text("\n".join([*lines, *backend]) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def search_command(pipeline_run: PipelineRun, profile: Path) -> tuple[str | Path, ...]:
    """Return the arguments of a search without its output folder."""
    calibrated = pipeline_run.folder / "calibrated"
    return ("sensitivity", calibrated, "--target", profile, *STRICT_LIMITS, "--output-dir")


@pytest.fixture(scope="session")
def searched(search_command: tuple[str | Path, ...], edge_msa: Command, once: Once) -> Path:
    """Return a run whose search first ran out of time and was then completed."""

    def create(folder: Path) -> None:
        output = folder / "run"
        first = edge_msa(*search_command, output, "--budget", "0")
        assert first.code == 0, first.err
        assert "The time budget ended first: this is the best plan so far" in first.out
        assert not load_run(output).info.is_complete
        assert len(plan_scores(output)) == 2
        second = edge_msa(*search_command, output, "--budget", "600")
        assert second.code == 0, second.err

    return once("mixed-precision", create) / "run"


def test_completed_search_is_not_repeated(
    searched: Path, search_command: tuple[str | Path, ...], edge_msa: Command
) -> None:
    assert load_run(searched, "calibration").info.is_complete
    assert "up to date" in edge_msa(*search_command, searched).out


def test_resumed_search_scores_each_plan_once(searched: Path) -> None:
    plans = [frozenset(row["fp32_weights"]) for row in plan_scores(searched)]
    assert len(set(plans)) == len(plans) > 2


def test_all_fp32_loses_nothing(searched: Path) -> None:
    all_fp32 = max(plan_scores(searched), key=lambda row: len(row["fp32_weights"]))
    assert (all_fp32["drop"], all_fp32["distance"]) == (0.0, 0.0)
    assert 0 < len(calibration_of(searched).fp32_weights[SCHEME]) <= len(all_fp32["fp32_weights"])


def test_search_keeps_the_ranges_of_the_calibration(pipeline_run: PipelineRun, searched: Path) -> None:
    assert calibration_of(searched).ranges == calibration_of(pipeline_run.folder / "calibrated").ranges


def test_page_shows_every_layer_and_node(searched: Path) -> None:
    page = (searched / "sensitivity.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org", "")
    for name in ("language.embed", "audio.blocks.0", SCHEME, "memory-bound at batch size 1"):
        assert name in page


def test_bundle_follows_the_plan_and_lists_it(
    pipeline_run: PipelineRun, searched: Path, profile: Path, edge_msa: Command, tmp_path: Path
) -> None:
    fp32_weights = calibration_of(searched).fp32_weights[SCHEME]
    result = edge_msa(
        *("export", searched, "--target", profile, "--data", pipeline_run.data, "--max-drop", "100"),
        *("--allow-worse-than-constant", "--precision", "int8", "--output-dir", tmp_path / "bundle"),
    )
    assert result.code == 0, result.err
    plans = open_bundle(tmp_path / "bundle").manifest.provenance["plan"]
    assert list(plans) == [SCHEME]
    convolutions = {row["node"].partition("(")[2].rstrip(")"): row for row in plans[SCHEME] if row["op"] == "Conv"}
    kept = {name for name, row in convolutions.items() if row["reason"].startswith("kept in fp32: ")}
    assert kept == set(fp32_weights)
    assert not any(convolutions[name]["int8"] for name in fp32_weights)
    assert all(row["reason"] for row in plans[SCHEME])


def test_run_without_calibration_is_rejected(pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path) -> None:
    student = pipeline_run.folder / "student"
    result = edge_msa("sensitivity", student, "--target", "laptop", "--output-dir", tmp_path / "out")
    assert result.code == 2
    assert "must be a calibration run" in result.err


def scaled(split: Split, factor: float) -> Split:
    modalities = {
        name: dataclasses.replace(frames, values=frames.take() * np.float32(factor), ids=None, table=None)
        for name, frames in split.modalities.items()
    }
    return dataclasses.replace(split, modalities=modalities)


def test_calibrate_warns_of_a_different_distribution(
    pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path
) -> None:
    dataset = open_dataset(pipeline_run.data)
    splits = {**dataset.splits, "valid": scaled(dataset.split("valid"), 3)}
    write_archive(dataclasses.replace(dataset, splits=splits), tmp_path / "scaled.npz")
    command = ("calibrate", pipeline_run.folder / "student", "--num-samples", "64", "--output-dir")
    same = edge_msa(*command, tmp_path / "same")
    assert same.code == 0, same.err
    assert "validation data differs" not in same.err
    different = edge_msa(*command, tmp_path / "different", "--data", tmp_path / "scaled.npz")
    assert different.code == 0, different.err
    assert "note: The validation data differs from the calibration samples in" in different.err
    assert "of the values are outside the range" in different.err


def test_one_calibration_sample_is_enough(pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path) -> None:
    student = pipeline_run.folder / "student"
    result = edge_msa("calibrate", student, "--num-samples", "1", "--output-dir", tmp_path / "one")
    assert result.code == 0, result.err
    assert "Traceback" not in result.err
