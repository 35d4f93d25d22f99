from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.runs import load_run, new_run, write_run
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import Calibration, load_calibration
from edge_msa.workflows.distill import distill
from tests.unit.edge_msa.toy_runs import DIMS, SMALL, write_dataset, write_teacher


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


def test_wrong_number_of_teacher_weights_raises_an_error(data: str, tmp_path: Path) -> None:
    recipe = {"student": {**SMALL["student"], "teacher_weights": [1.0, 2.0]}}
    with pytest.raises(UsageError, match="must have 1 numbers, one per teacher, got 2"):
        distill([write_teacher(tmp_path / "first", data)], data=data, output_dir=tmp_path / "student", recipe=recipe)


def test_qat_keeps_ranges_sizes_and_spec_of_the_calibrated_run(data: str, tmp_path: Path) -> None:
    run = write_teacher(tmp_path / "first", data)
    student = distill([run], data=data, output_dir=tmp_path / "student", recipe=SMALL)
    calibrated = tmp_path / "calibrated"
    keys = [
        f"encoders.{name}.{layer}.weight:{side}"
        for name in DIMS
        for layer in ("embed", "blocks.0", "score")
        for side in ("input", "output")
    ]
    with new_run(calibrated, "calibrated") as work:
        Calibration(dict.fromkeys(keys, (-3.0, 3.0))).save(work)
        write_run(work, dataclasses.replace(student.info, kind="calibration"), student.weights, [])
    tuned = distill(
        [run], data=data, output_dir=tmp_path / "qat", qat=calibrated, recipe={"student": {"width": 99}}, epochs=1
    )
    assert load_run(tmp_path / "qat", "calibration").info.command == "distill --qat"
    assert tuned.info.config == student.info.config
    assert tuned.spec.to_json() == student.spec.to_json()
    assert load_calibration(tuned) == Calibration(dict.fromkeys(keys, (-3.0, 3.0)))
    assert any(not np.array_equal(value, tuned.weights[name]) for name, value in student.weights.items())
