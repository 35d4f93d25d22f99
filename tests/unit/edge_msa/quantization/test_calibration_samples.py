from __future__ import annotations

import numpy as np

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tasks import MOSI
from edge_msa.quantization.calibration_samples import draw_frames
from edge_msa_calibrate.collect import graph_for_sample

WINDOWS = {"language": 6, "audio": 9}


def small_dataset(*, audio_of_first: bool = True) -> Dataset:
    """Return 20 training samples with 2 to 6 language frames and 2 to 9 audio frames."""
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
    return Dataset("small", MOSI, {"train": Split(ids, ids, np.zeros(20, np.float32), modalities)}, "small")


def drawn_subsets(dataset: Dataset, num_samples: int) -> list[str]:
    return [graph_for_sample(sample).subset.value for sample in draw_frames(dataset, {}, num_samples, 0)]


def test_samples_cycle_through_the_subsets() -> None:
    assert drawn_subsets(small_dataset(), 9) == ["l", "a", "la"] * 3


def test_samples_have_the_gap_frames_of_the_student() -> None:
    dataset = small_dataset()
    valid = dataset.split("train").modalities["audio"].valid
    valid[:, :6] = [False, True, False, False, True, True]
    gap_frame = np.array([7.0, -7.0], np.float32)
    counts = [
        int((sample["audio"] == gap_frame).all(axis=1).sum())
        for sample in draw_frames(dataset, {"audio": gap_frame}, 20, 0)
        if "audio" in sample
    ]
    assert set(counts) == {1}


def test_samples_contain_only_valid_frames() -> None:
    lengths = {name: set(item.lengths.tolist()) for name, item in small_dataset().split("train").modalities.items()}
    for sample in draw_frames(small_dataset(), {}, 20, 0):
        for name, frames in sample.items():
            assert len(frames) in lengths[name]
            assert frames.shape[1:] == (2,)
            assert (frames != 0).all()


def test_sample_without_its_subset_keeps_what_it_has() -> None:
    complete = drawn_subsets(small_dataset(), 20)
    incomplete = drawn_subsets(small_dataset(audio_of_first=False), 20)
    changes = [(before, after) for before, after in zip(complete, incomplete, strict=True) if before != after]
    assert len(incomplete) == 20
    assert changes in ([], [("a", "l")], [("la", "l")])


def test_seed_decides_which_samples_are_drawn() -> None:
    def sums(seed: int) -> list[float]:
        samples = draw_frames(small_dataset(), {}, 5, seed)
        return [float(sum(frames.sum() for frames in sample.values())) for sample in samples]

    assert sums(0) == sums(0)
    assert sums(0) != sums(1)
