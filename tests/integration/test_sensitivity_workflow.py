"""Calibrated student in, a plan out: searched, drawn, resumed, exported, told in the manifest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edge_msa.artifacts.runs import load_run
from edge_msa.data.dataset import Split
from edge_msa.data.formats.archive import read_archive, write_archive
from edge_msa.quantization.calibration_files import read_fp32_weights, read_ranges
from edge_msa_runtime.bundle.reader import open_bundle

if TYPE_CHECKING:
    from tests.integration.conftest import CommandResult, PipelineRun

    Command = Callable[..., CommandResult]

RULES = "ort-x86-vnni"
# Nothing in int8 can be as near to fp32 as this, so that layers have to stay float.
NEAR = ("--max-drop", "100", "--max-distance", "1e-3")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laptop with ONNX Runtime alone: one quantization scheme is enough to show the way."""
    path = tmp_path_factory.mktemp("device") / "own.toml"
    lines = ['name = "own"', 'description = "for a test"', 'family = "own"', 'architecture = "x86_64"', "vnni = true"]
    backend = ["[[backends]]", 'name = "onnxruntime"', 'precisions = ["fp32", "int8"]', f'scheme = "{RULES}"']
    path.write_text("\n".join([*lines, *backend]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def placed(pipeline_run: PipelineRun, profile: Path, edge_msa: Command) -> Path:
    output = pipeline_run.folder.parent / "placed"
    command = (
        "sensitivity",
        "--model",
        pipeline_run.folder / "calibrated",
        "--target",
        profile,
        "--output-dir",
        output,
    )
    first = edge_msa(*command, *NEAR, "--budget", "0")
    assert first.code == 0, first.err
    assert "The budget ended first: this the best so far" in first.out
    assert not load_run(output).info.metrics["complete"]
    second = edge_msa(*command, *NEAR, "--budget", "600")
    assert second.code == 0, second.err
    assert "is up to date" in edge_msa(*command, *NEAR).out
    return output


def test_a_search_that_ran_out_of_time_goes_on_with_what_it_knew(placed: Path) -> None:
    assert load_run(placed, "calibration").info.metrics["complete"]
    kept = json.loads((placed / f"evaluations-{RULES}.json").read_text())["evaluations"]
    assert len({frozenset(row["float"]) for row in kept}) == len(kept) > 2
    layers = max(len(row["float"]) for row in kept)
    assert kept[1] == {"float": kept[1]["float"], "drop": 0.0, "distance": 0.0}
    assert len(kept[1]["float"]) == layers
    assert 0 < len(read_fp32_weights(load_run(placed))[RULES]) <= layers


def test_the_plan_is_a_calibration_of_the_same_ranges(pipeline_run: PipelineRun, placed: Path) -> None:
    assert read_ranges(load_run(placed)) == read_ranges(load_run(pipeline_run.folder / "calibrated"))


def test_the_page_shows_every_layer_and_every_node(placed: Path) -> None:
    page = (placed / "sensitivity.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org", "")
    for name in ("language.embed", "audio.blocks.0", "it alone in int8", "QuantizationPlan, node by node", RULES):
        assert name in page


def test_the_bundle_computes_and_tells_what_was_placed(
    pipeline_run: PipelineRun, placed: Path, profile: Path, edge_msa: Command, tmp_path: Path
) -> None:
    floats = set(read_fp32_weights(load_run(placed))[RULES])
    ran = edge_msa(
        *("export", "--target", profile, "--model", placed, "--data", pipeline_run.data, "--max-drop", "100"),
        *("--precision", "int8", "--output-dir", tmp_path / "bundle"),
    )
    assert ran.code == 0, ran.err
    manifest = open_bundle(tmp_path / "bundle").manifest
    (rules,) = manifest.provenance["plan"].items()
    assert rules[0] == RULES
    told = [row for row in rules[1] if row["op"] == "Conv"]
    kept = {row["node"].partition("(")[2].rstrip(")") for row in told if row["reason"].startswith("kept float: ")}
    assert kept == floats
    assert not any(row["int8"] for row in told if row["node"].partition("(")[2].rstrip(")") in floats)
    assert all(row["reason"] for row in rules[1])


def test_a_run_that_was_not_calibrated_is_refused(pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path) -> None:
    ran = edge_msa(
        *(
            "sensitivity",
            "--model",
            pipeline_run.folder / "student",
            "--target",
            "laptop",
            "--output-dir",
            tmp_path / "x",
        )
    )
    assert ran.code == 2
    assert "needs a calibration run" in ran.err


def scaled(split: Split, factor: float) -> Split:
    found = {
        name: dataclasses.replace(frames, values=frames.take() * np.float32(factor), ids=None, table=None)
        for name, frames in split.modalities.items()
    }
    return dataclasses.replace(split, modalities=found)


def test_calibrate_warns_where_validation_is_another_distribution(
    pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path
) -> None:
    dataset = read_archive(pipeline_run.data)
    write_archive(
        dataclasses.replace(dataset, splits={**dataset.splits, "valid": scaled(dataset.split("valid"), 3)}),
        tmp_path / "shifted.npz",
    )
    command = ("calibrate", "--model", pipeline_run.folder / "student", "--num-samples", "64", "--output-dir")
    calm = edge_msa(*command, tmp_path / "calm")
    assert calm.code == 0, calm.err
    assert "validation differs" not in calm.err
    shifted = edge_msa(*command, tmp_path / "shifted", "--data", tmp_path / "shifted.npz")
    assert shifted.code == 0, shifted.err
    assert "note: validation differs from the calibration set in" in shifted.err
    assert "of its values lie beyond the range" in shifted.err


def test_one_calibration_sample_is_enough_to_go_on(
    pipeline_run: PipelineRun, edge_msa: Command, tmp_path: Path
) -> None:
    ran = edge_msa(
        *(
            "calibrate",
            "--model",
            pipeline_run.folder / "student",
            "--num-samples",
            "1",
            "--output-dir",
            tmp_path / "one",
        )
    )
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
