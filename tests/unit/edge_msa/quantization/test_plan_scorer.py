from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.models.student import StudentConfig, untrained_student
from edge_msa.quantization.calibration_files import Calibration
from edge_msa.quantization.calibration_samples import draw_frames
from edge_msa.quantization.plan_scorer import PlanScorer
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.graphs.student import export_student
from edge_msa_export.normalization import Normalization

SCHEME = "ort-x86-vnni"
WINDOW, DIM, COUNT = 12, 20, 40


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random audio, with the same samples for training and validation."""
    rng = np.random.default_rng(0)
    valid = np.arange(WINDOW)[None] < rng.integers(3, WINDOW + 1, (COUNT, 1))
    frames = Frames(valid, rng.normal(size=(COUNT, WINDOW, DIM)).astype(np.float32))
    ids = tuple(str(row) for row in range(COUNT))
    split = Split(ids, ids, rng.uniform(-3, 3, COUNT).astype(np.float32), {"audio": frames})
    return Dataset("random", MOSI, {"train": split, "valid": split}, "random")


@pytest.fixture(scope="module")
def graphs() -> GraphsByKey:
    student = untrained_student(StudentConfig({"audio": DIM}, width=16), seed=0)
    return export_student(student, {"audio": Normalization.identity(DIM)}, {"audio": 4}, {"audio": WINDOW})


@pytest.fixture(scope="module")
def calibration(dataset: Dataset, graphs: GraphsByKey) -> Calibration:
    windows = {key: graph for key, graph in graphs.items() if key.role == "window"}
    statistics = collect_statistics(windows, draw_frames(dataset, {}, COUNT, 0))
    return Calibration(compute_ranges(statistics, "minmax"))


def make_scorer(graphs: GraphsByKey, calibration: Calibration, dataset: Dataset, scratch: Path) -> PlanScorer:
    return PlanScorer(graphs, calibration, "onnxruntime", SCHEME, dataset, {}, None, scratch, num_samples=COUNT, seed=0)


@pytest.fixture
def scorer(graphs: GraphsByKey, calibration: Calibration, dataset: Dataset, tmp_path: Path) -> PlanScorer:
    return make_scorer(graphs, calibration, dataset, tmp_path)


def test_all_fp32_equals_the_reference(scorer: PlanScorer) -> None:
    score = scorer(scorer.weights)
    assert (score.drop, score.distance) == (0.0, 0.0)


def test_int8_differs_from_the_reference(scorer: PlanScorer) -> None:
    assert 0 < scorer(()).distance < 0.5


def test_scores_of_a_plan_are_reproducible(scorer: PlanScorer) -> None:
    plan = scorer.weights[:1]
    assert scorer(plan) == scorer(plan)


def test_layers_that_calibration_keeps_in_fp32_are_not_searched(
    graphs: GraphsByKey, calibration: Calibration, dataset: Dataset, scorer: PlanScorer, tmp_path: Path
) -> None:
    kept, *others = scorer.weights
    restricted = Calibration(calibration.ranges, fp32_weights={SCHEME: {kept: "too coarse"}})
    other = make_scorer(graphs, restricted, dataset, tmp_path)
    assert other.weights == tuple(others)
    assert other(()) == scorer({kept})


def test_samples_are_drawn_from_validation(
    graphs: GraphsByKey, calibration: Calibration, dataset: Dataset, tmp_path: Path
) -> None:
    scorer = PlanScorer(graphs, calibration, "tensorrt", "tensorrt", dataset, {}, None, tmp_path, num_samples=8, seed=0)
    assert scorer.num_samples == 8
    assert scorer.backend_name == "onnxruntime"
