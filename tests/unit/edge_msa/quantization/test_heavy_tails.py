"""Quantize students whose features have heavy tails."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import MOSI
from edge_msa.deployment.graphs import make_normalization
from edge_msa.models.student import StudentConfig, untrained_student
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.calibration_samples import draw_frames
from edge_msa.quantization.plan_scorer import PlanScorer
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.gate import MAX_DISTANCE
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_export.graphs.student import export_student

WINDOW, DIM, COUNT = 10, 24, 100


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Audio with features in different units, of which one in three has the tails of a Cauchy distribution."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(COUNT, WINDOW, DIM))
    values[..., ::3] = rng.standard_cauchy(size=(COUNT, WINDOW, DIM // 3))
    frames = Frames(np.ones((COUNT, WINDOW), np.bool_), (values * 10.0 ** rng.integers(-3, 4, DIM)).astype(np.float32))
    ids = tuple(str(row) for row in range(COUNT))
    split = Split(ids, ids, rng.uniform(-3, 3, COUNT).astype(np.float32), {"audio": frames})
    return Dataset("heavy tails", MOSI, {"train": split, "valid": split}, "heavy tails")


def measure_distance(dataset: Dataset, normalization: FeatureNormalization, scratch: Path) -> float:
    """Return the distance of int8 predictions from fp32 with every layer in int8."""
    spec = dataclasses.replace(ModelSpec.for_training(dataset, "x"), normalization=normalization)
    student = untrained_student(StudentConfig(spec.dims, width=16, blocks=2), seed=0)
    graphs = export_student(student, make_normalization(spec), {"audio": 4}, {"audio": WINDOW})
    windows = {key: graph for key, graph in graphs.items() if key.role == "window"}
    statistics = collect_statistics(windows, draw_frames(dataset, {}, COUNT, 0))
    calibration = Calibration(compute_ranges(statistics, "mse"))
    scorer = PlanScorer(
        graphs, calibration, "tensorrt", "tensorrt", dataset, {}, None, scratch, num_samples=COUNT, seed=0
    )
    return scorer(()).distance


@pytest.mark.slow
def test_heavy_tails_leave_int8_precise(dataset: Dataset, tmp_path: Path) -> None:
    robust = ModelSpec.for_training(dataset, "x").normalization
    values = dataset.split("train").modalities["audio"].take().reshape(-1, DIM)
    mean, std = values.mean(axis=0), values.std(axis=0)
    plain = FeatureNormalization({"audio": mean}, {"audio": std}, {"audio": np.inf}, {"audio": np.inf})
    distance = measure_distance(dataset, robust, tmp_path)
    assert distance < MAX_DISTANCE
    assert distance < 0.6 * measure_distance(dataset, plain, tmp_path)
