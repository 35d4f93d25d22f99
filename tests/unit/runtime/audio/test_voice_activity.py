from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.audio.front_end import VOICE_ACTIVITY, AudioFrontEnd
from edge_msa_runtime.media.signals import Sound
from tests.unit.runtime.audio.sounds import make_noise, make_syllables, make_times, make_tones, make_voice

pytest.importorskip("kaldi_native_fbank")


def find_voice(samples: Any) -> Any:
    """Return whether there is voice, per frame."""
    return AudioFrontEnd().push(Sound(0.0, samples.astype(np.float32))).frames[:, VOICE_ACTIVITY] == 1


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_voice_begins_and_ends_with_the_speech(noise: float) -> None:
    quiet = np.zeros(16_000)
    samples = np.concatenate([quiet, make_syllables(2.0), quiet]) + make_noise(noise, seconds=4)
    active = find_voice(samples)
    assert not active[:95].any()
    assert active[125:290].all()
    assert not active[330:].any()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(32_000),
        np.full(32_000, 0.2),
        make_noise(1e-4, seconds=5),
        make_noise(0.1, seconds=5),
        make_tones(5.0),
        make_voice(220, seconds=2.0),
        0.05 * np.sin(2 * np.pi * 50 * make_times(3.0)),
    ],
    ids=["silence", "offset", "quiet noise", "loud noise", "music", "held note", "hum"],
)
def test_other_sound_is_no_voice(samples: Any) -> None:
    assert not find_voice(samples).any()


def test_speech_is_found_in_music() -> None:
    samples = 0.3 * make_tones(4.0)
    samples[16_000:48_000] += make_syllables(2.0)
    active = find_voice(samples)
    assert not active[:90].any()
    assert active[140:290].mean() > 0.9
    assert not active[360:].any()


def test_loudness_does_not_matter() -> None:
    samples = np.concatenate([np.zeros(8000), make_syllables(2.0), np.zeros(8000)]) + make_noise(0.003, seconds=3)
    assert np.mean(find_voice(samples) == find_voice(0.05 * samples)) > 0.97
