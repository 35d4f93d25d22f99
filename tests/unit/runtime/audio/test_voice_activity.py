from __future__ import annotations

import shutil
import subprocess
import wave
from pathlib import Path
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


SENTENCES = (
    ("en-us+f2", "We waited two hours in the rain for this concert."),
    ("en-gb-scotland", "Honestly, the soup was cold and the waiter did not care."),
    ("en-us+m1", "My sister laughed so hard that she cried."),
    ("en-gb+f4", "Could you please repeat the second question?"),
)
"""Voices and texts with which no threshold was chosen."""


@pytest.mark.slow
def test_synthetic_speech_is_found_in_silence_noise_and_tones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        pytest.skip("espeak-ng is not installed: sudo apt-get install espeak-ng")
    parts: list[Any] = [np.zeros(32_000)]
    for voice, text in SENTENCES:
        subprocess.run([espeak, "-v", voice, "-w", str(tmp_path / "speech.wav"), text], check=True)
        with wave.open(str(tmp_path / "speech.wav")) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32_768
            times = np.arange(0, len(samples) / file.getframerate(), 1 / 16_000)
            speech = np.interp(times, np.arange(len(samples)) / file.getframerate(), samples)
        parts += [0.1 * speech / np.sqrt(np.mean(speech[np.abs(speech) > 0.01] ** 2)), np.zeros(28_000)]
    speech = np.concatenate(parts)
    seconds = len(speech) / 16_000
    noise = make_noise(0.0316, seconds, seed=202)
    tones = make_tones(seconds, seed=303)
    tones *= 0.0316 / np.sqrt(np.mean(tones**2))
    expected = find_sound(speech)
    for name, samples, least in (
        ("silence", speech, 0.9),
        ("noise at 10 dB", speech + noise, 0.85),
        ("tones at 10 dB", speech + tones, 0.85),
    ):
        active = find_voice(samples)
        hits, false = active[expected].mean(), active[~expected].mean()
        with capsys.disabled():
            print(f"\nspeech in {name}: {hits:.2f} of its frames found, {false:.2f} of the others too", end="")
        assert hits >= least
        assert false <= 0.2
    assert not find_voice(tones).any()
    assert not find_voice(noise).any()


def find_sound(samples: Any) -> Any:
    """Return which frames have sound above -60 dB, with pauses of up to 300 ms."""
    count = (len(samples) - 400) // 160 + 1
    loud = np.array([np.mean(samples[160 * k : 160 * k + 400] ** 2) > 1e-6 for k in range(count)])
    indices = np.flatnonzero(loud)
    for first, second in zip(indices, indices[1:]):
        loud[first : second + 1] |= second - first <= 30
    return loud


def test_loudness_does_not_matter() -> None:
    samples = np.concatenate([np.zeros(8000), make_syllables(2.0), np.zeros(8000)]) + make_noise(0.003, seconds=3)
    assert np.mean(find_voice(samples) == find_voice(0.05 * samples)) > 0.97
