from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edge_msa.data.synthetic.generator import SyntheticConfig, generate_dataset
from edge_msa.deployment.baselines import measure_baselines


def test_baselines_are_those_of_the_validation_split() -> None:
    dataset = generate_dataset(SyntheticConfig(train=32, valid=16, test=16))
    validation = measure_baselines(dataset)
    assert validation is not None
    assert (validation.subset, validation.samples) == ("lav", 16)
    mae = next(metric for metric in validation.metrics if metric.key == "mae")
    labels, median = dataset.split("valid").labels, np.median(dataset.split("train").labels)
    assert mae.baselines["median"] == pytest.approx(np.mean(np.abs(labels - median)), rel=1e-5)
    best = min(np.mean(np.abs(labels - score)) for score in range(-3, 4))
    assert mae.baselines["best_constant"] == pytest.approx(best, rel=1e-5)
    assert [metric.format(0.5) for metric in validation.metrics] == ["50.0 %", "0.500"]


def test_a_split_without_valid_frames_has_no_baselines() -> None:
    dataset = generate_dataset(SyntheticConfig(train=8, valid=4, test=4))
    split = dataset.split("valid")
    hidden = {
        name: dataclasses.replace(frames, valid=np.zeros_like(frames.valid))
        for name, frames in split.modalities.items()
    }
    splits = {**dataset.splits, "valid": dataclasses.replace(split, modalities=hidden)}
    assert measure_baselines(dataclasses.replace(dataset, splits=splits)) is None
