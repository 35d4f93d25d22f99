from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, RunInfo
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import MOSI
from edge_msa.errors import RunError
from edge_msa.quantization.calibration_files import RANGES_NAME, read_ranges
from edge_msa.workflows.calibrate import calibration_samples
from edge_msa_calibrate.collect import subset_of

WINDOWS = {"language": 6, "audio": 9}


def toy(*, audio_of_first: bool = True) -> Dataset:
    rng = np.random.default_rng(0)
    modalities = {
        name: Frames(
            np.arange(window)[None] < rng.integers(2, window + 1, (20, 1)),
            rng.normal(3, 1, (20, window, 2)).astype(np.float32),
        )
        for name, window in WINDOWS.items()
    }
    modalities["audio"].valid[0] &= audio_of_first
    ids = tuple(str(row) for row in range(20))
    return Dataset("toy", MOSI, {"train": Split(ids, ids, np.zeros(20, np.float32), modalities)}, "toy")


def test_samples_are_seen_from_every_subset_in_turn() -> None:
    found = [subset_of(sample) for sample in calibration_samples(toy(), 9, 0)]
    assert found == ["l", "a", "la"] * 3


def test_a_sample_holds_the_valid_frames_of_its_modalities_alone() -> None:
    lengths = {name: set(frames.lengths.tolist()) for name, frames in toy().split("train").modalities.items()}
    for sample in calibration_samples(toy(), 20, 0):
        for name, frames in sample.items():
            assert len(frames) in lengths[name]
            assert frames.shape[1:] == (2,)
            assert (frames != 0).all()


def test_a_sample_that_lacks_a_modality_is_seen_from_what_it_has() -> None:
    whole = [subset_of(sample) for sample in calibration_samples(toy(), 20, 0)]
    found = [subset_of(sample) for sample in calibration_samples(toy(audio_of_first=False), 20, 0)]
    changed = [(before, after) for before, after in zip(whole, found, strict=True) if before != after]
    assert len(found) == 20
    assert changed in ([], [("a", "l")], [("la", "l")])


def test_the_seed_decides_which_samples() -> None:
    def first(seed: int) -> list[float]:
        return [float(sum(v.sum() for v in s.values())) for s in calibration_samples(toy(), 5, seed)]

    assert first(0) == first(0)
    assert first(0) != first(1)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '{"a": [1]}', '{"a": ["x", 2]}'])
def test_damaged_ranges_are_an_error_of_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / RANGES_NAME).write_text(text)
    spec = ModelSpec(MOSI, {}, {}, {}, FeatureNormalization.identity({}), "")
    info = RunInfo("calibration", "student", "calibrate", "", 0, {}, {}, spec, {}, {})
    with pytest.raises(RunError, match="calibrate again"):
        read_ranges(Run(tmp_path, info))
