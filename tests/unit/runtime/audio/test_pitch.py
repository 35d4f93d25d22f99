from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.audio.pitch import PitchTracker
from tests.unit.runtime.audio.sounds import make_noise, make_voice

SETTLED = slice(10, None)  # frames with a complete past


def track(samples: Any) -> Any:
    return PitchTracker().push(samples)


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("hertz", [65, 120, 220, 480])
def test_pitch_of_a_voice_is_within_one_percent(hertz: float, noise: float) -> None:
    frames = track(make_voice(hertz, seconds=0.6) + make_noise(noise, seconds=0.6))
    assert np.abs(frames[SETTLED, 0] - math.log(hertz)).max() < 0.01
    assert frames[SETTLED, 1].min() > 0.9


def test_pitch_does_not_need_its_fundamental() -> None:
    """A telephone cuts everything below 300 Hz off."""
    times = np.arange(8000) / 16_000
    frames = track(sum(0.1 * np.sin(2 * np.pi * 120 * number * times) for number in range(3, 9)))
    assert np.abs(frames[SETTLED, 0] - math.log(120)).max() < 0.02


def test_silence_and_noise_have_low_voicing() -> None:
    rumble = np.cumsum(make_noise(1.0, seconds=5))
    rumble -= np.convolve(rumble, np.ones(400) / 400, "same")
    assert (track(np.zeros(8000)) == [math.log(150), 0]).all()
    assert np.quantile(track(make_noise(0.1, seconds=5))[:, 1], 0.99) < 0.5
    assert np.quantile(track(make_noise(1e-5, seconds=1))[:, 1], 0.99) < 0.1
    assert np.quantile(track(rumble / rumble.std() * 0.05)[:, 1], 0.95) < 0.5


def test_unvoiced_frames_keep_the_last_pitch() -> None:
    frames = track(np.concatenate([make_voice(220, seconds=0.5), np.zeros(8000)]))
    assert frames[-1, 1] == 0
    assert abs(frames[-1, 0] - math.log(220)) < 0.02


def test_a_frame_depends_on_nothing_later() -> None:
    samples = np.concatenate([make_voice(150, seconds=0.3), make_noise(0.1, seconds=0.3)])
    complete = track(samples)
    for frame in (0, 1, 17, 40):
        assert np.array_equal(track(samples[: 160 * frame + 400]), complete[: frame + 1])
        assert len(track(samples[: 160 * frame + 399])) == frame
