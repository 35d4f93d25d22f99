from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, RunInfo
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import MOSI
from edge_msa.errors import RunError
from edge_msa.quantization.calibration_files import (
    FP32_WEIGHTS_NAME,
    RANGES_NAME,
    SMOOTHING_NAME,
    Calibration,
    load_calibration,
)

RANGES = {"encoders.audio.embed.weight:input": (-1.5, 2.0)}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    spec = ModelSpec(MOSI, {}, {}, {}, FeatureNormalization.identity({}), "")
    return Run(tmp_path, RunInfo("calibration", "student", "calibrate", "", 0, {}, {}, spec, {}, {}))


def test_saved_calibration_loads_unchanged(run: Run) -> None:
    factors = np.array([0.5, 2.0], np.float32)
    fp32_weights = {"tensorrt": {"encoders.audio.embed.weight": "too coarse"}}
    Calibration(RANGES, {"text_encoder.one.weight": factors}, fp32_weights).save(run.path)
    loaded = load_calibration(run)
    assert loaded is not None
    assert (loaded.ranges, loaded.fp32_weights) == (RANGES, fp32_weights)
    assert np.array_equal(loaded.smoothing["text_encoder.one.weight"], factors)


def test_calibration_without_smoothing_has_no_smoothing_file(run: Run) -> None:
    Calibration(RANGES).save(run.path)
    assert not (run.path / SMOOTHING_NAME).exists()
    assert load_calibration(run) == Calibration(RANGES)


def test_student_run_has_no_calibration(run: Run) -> None:
    student = dataclasses.replace(run, info=dataclasses.replace(run.info, kind="student"))
    assert load_calibration(student) is None


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '{"a": [1]}', '{"a": ["x", 2]}'])
def test_damaged_ranges_are_an_error(run: Run, text: str) -> None:
    (run.path / RANGES_NAME).write_text(text)
    with pytest.raises(RunError, match=r"ranges\.json .*Calibrate again"):
        load_calibration(run)


@pytest.mark.parametrize(("name", "content"), [(FP32_WEIGHTS_NAME, b"[1]"), (SMOOTHING_NAME, b"PK")])
def test_other_damaged_files_are_an_error(run: Run, name: str, content: bytes) -> None:
    Calibration(RANGES).save(run.path)
    (run.path / name).write_bytes(content)
    with pytest.raises(RunError, match="Calibrate again"):
        load_calibration(run)
