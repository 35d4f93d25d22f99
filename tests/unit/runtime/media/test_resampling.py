from __future__ import annotations

import numpy as np
import pytest

from edge_msa_runtime.media.resampling import Resampler, mean_of_channels
from tests.media_files import tone

pytest.importorskip("av")


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_the_division_into_pieces_does_not_change_a_bit(rate: int) -> None:
    sound = np.random.default_rng(0).uniform(-1, 1, rate).astype(np.float32)
    whole = Resampler(rate)
    expected = np.concatenate([whole.push(sound), whole.finish()])
    rng = np.random.default_rng(1)
    for _ in range(3):
        cuts = np.sort(rng.integers(0, rate, 40))
        pieces = Resampler(rate)
        got = [pieces.push(piece) for piece in np.split(sound, cuts)]
        assert np.array_equal(np.concatenate([*got, pieces.finish()]), expected)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_resampled_sound_keeps_its_time(rate: int) -> None:
    resampler = Resampler(rate)
    sound = np.concatenate([resampler.push(tone(1, rate).astype(np.float32)), resampler.finish()])
    assert len(sound) == 16_000
    assert sound[200:-200] == pytest.approx(tone(1)[200:-200], abs=2e-3)


def test_integers_are_scaled_and_bad_samples_are_zero() -> None:
    assert mean_of_channels(np.array([[-128 + 128], [128]], np.uint8)).tolist() == [-1, 0]
    assert mean_of_channels(np.array([[-32768, 32767]], np.int16)) == pytest.approx([0], abs=1e-4)
    assert mean_of_channels(np.array([[np.nan], [np.inf], [3.0]], np.float32)).tolist() == [0, 0, 1]
