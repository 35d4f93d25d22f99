from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa.data.dataset import FloatArray, Frames, Split
from edge_msa.reporting.explain.noise import Attend, NoiseExperiment, draw_noise, replace_frames

COUNT, FRAMES = 40, 6


def toy() -> Split:
    """Samples whose first feature is large in one frame. The last sample has a single frame, the first no vision."""
    rng = np.random.default_rng(0)
    audio = rng.normal(size=(COUNT, FRAMES, 3)).astype(np.float32)
    audio[np.arange(COUNT), np.arange(COUNT) % FRAMES, 0] = 6
    valid = np.ones((COUNT, FRAMES), np.bool_)
    valid[-1, 1:] = False
    vision = np.ones((COUNT, FRAMES), np.bool_)
    vision[0] = False
    frames = {"audio": Frames(valid, audio), "vision": Frames(vision, np.zeros((COUNT, FRAMES, 2), np.float32))}
    names = tuple(map(str, range(COUNT)))
    groups = tuple(f"video{row // 4}" for row in range(COUNT))
    return Split(names, groups, np.zeros(COUNT, np.float32), frames)


def attend_content(split: Split, _rows: NDArray[np.int64]) -> dict[str, FloatArray]:
    """A softmax over the first feature of each frame."""
    weights = {}
    for name, frames in split.modalities.items():
        scores = np.where(frames.valid, np.exp(frames.take()[..., 0]), np.nan)
        with np.errstate(invalid="ignore"):
            total = np.nansum(scores, axis=1, keepdims=True)
        weights[name] = np.asarray(scores / np.where(total > 0, total, 1) * FRAMES, np.float32)
    return weights


def attend_position(split: Split, _rows: NDArray[np.int64]) -> dict[str, FloatArray]:
    """Weights that depend on the position only."""
    weights = np.linspace(0.5, 1.5, FRAMES, dtype=np.float32)
    return {name: np.where(frames.valid, weights, np.float32(np.nan)) for name, frames in split.modalities.items()}


def predict_attended(split: Split) -> FloatArray:
    """The first feature of audio, averaged with its own attention."""
    attention = np.nan_to_num(attend_content(split, np.arange(len(split)))["audio"])
    return np.asarray((attention * split.modalities["audio"].take()[..., 0]).mean(axis=1, keepdims=True), np.float32)


def experiment(split: Split, attend: Attend = attend_content) -> NoiseExperiment:
    valid = {name: frames.valid for name, frames in split.modalities.items()}
    return NoiseExperiment(
        split,
        valid,
        dict.fromkeys(valid, 6.0),
        attend=attend,
        predict=predict_attended,
    )


def test_noise_moves_attention_that_follows_content() -> None:
    split = toy()
    effects = {item.modality: item for item in experiment(split).effects(np.arange(COUNT))}
    audio = effects["audio"]
    most, least = audio.places["most"], audio.places["least"]
    assert audio.samples == COUNT - 1  # The last sample has one frame.
    assert most.attention_change.high < 0
    assert most.before.value > 5 > most.after.value
    assert least.before.value < 0.1
    assert audio.prediction_difference.low > 0  # The attended frame matters more.
    assert audio.error_increase is not None
    assert audio.error_increase.high < 0  # All labels are 0, and noise removes a large score.
    vision = effects["vision"]
    assert vision.samples == COUNT - 1
    assert vision.prediction_difference.value == 0


def test_noise_does_not_move_attention_that_follows_positions() -> None:
    (audio, _) = experiment(toy(), attend_position).effects(np.arange(COUNT))
    assert audio.places["most"].before.value == pytest.approx(1.5)
    assert audio.places["most"].attention_change.value == 0
    assert audio.after_difference.value == pytest.approx(1.0)


def test_samples_show_the_frame_with_the_most_attention() -> None:
    split = toy()
    first, last = experiment(split).samples(np.array([3, COUNT - 1]))
    assert first["audio"].frame == 3
    assert first["audio"].after[3] < first["audio"].before[3]
    np.testing.assert_allclose(first["audio"].prediction, predict_attended(split)[3])
    assert "audio" not in last  # A single frame has all attention.


def test_noise_of_a_sample_does_not_depend_on_the_other_samples() -> None:
    frames = toy().modalities["audio"]
    everything = draw_noise(frames, frames.valid, 6.0, np.arange(COUNT), 0)
    np.testing.assert_array_equal(draw_noise(frames, frames.valid, 6.0, np.array([7]), 0), everything[[7]])
    assert float(np.abs(draw_noise(frames, frames.valid, 0.5, np.arange(COUNT), 0)).max()) <= 0.5


def test_words_are_replaced_by_other_words() -> None:
    table = np.eye(5, dtype=np.float32)
    ids = np.array([[0, 1, 2], [3, 4, -1]])
    frames = Frames(ids >= 0, ids=ids, table=table)
    noise = draw_noise(frames, frames.valid, 6.0, np.array([0, 1]), 0)
    changed = replace_frames(frames, np.array([2, 0]), noise)
    assert changed.ids is not None
    assert changed.ids[0, 2] == noise[0]
    assert changed.ids[1, 0] == noise[1]
    assert set(noise) <= {0, 1, 2, 3, 4}
    assert ids[0, 2] == 2  # The original is unchanged.
