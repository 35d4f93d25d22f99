from __future__ import annotations

import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.audio.front_end import (
    LOG_ENERGY,
    LOG_PITCH,
    MEL_BINS,
    VOICE_ACTIVITY,
    VOICING,
    WIDTH,
    AudioFrontEnd,
)
from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.features import FeatureSource, features_to_json, parse_features
from edge_msa_runtime.media.signals import Sound
from tests.unit.runtime.audio.sounds import make_noise, make_syllables, make_voice

pytest.importorskip("kaldi_native_fbank")
pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

SPEECH = np.concatenate([make_syllables(0.9), make_noise(0.05, seconds=0.3)]).astype(np.float32)


def compute(samples: Any, time: float = 0.0) -> Any:
    return AudioFrontEnd().push(Sound(time, np.asarray(samples, np.float32))).frames


WHOLE = compute(SPEECH)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, len(SPEECH)), max_size=40), start=st.floats(0, 1e5))
def test_frames_do_not_depend_on_chunks(cuts: list[int], start: float) -> None:
    front_end = AudioFrontEnd()
    frames: list[Any] = []
    edges = [0, *sorted(cuts), len(SPEECH)]
    for begin, end in zip(edges, edges[1:]):
        timed = front_end.push(Sound(start + begin / 16_000, SPEECH[begin:end]))
        assert timed.time == pytest.approx(start + (sum(len(part) for part in frames) * 160 + 400) / 16_000, abs=1e-6)
        assert timed.valid is None
        frames.append(timed.frames)
    assert np.array_equal(np.concatenate(frames), WHOLE)


def test_one_sample_at_a_time_gives_the_same_frames() -> None:
    front_end = AudioFrontEnd()
    frames = [front_end.push(Sound(k / 16_000, SPEECH[k : k + 1])).frames for k in range(4000)]
    assert np.array_equal(np.concatenate(frames), WHOLE[: (4000 - 400) // 160 + 1])


def test_a_frame_depends_on_nothing_later() -> None:
    for frame in (0, 30, 80):
        assert np.array_equal(compute(SPEECH[: 160 * frame + 400]), WHOLE[: frame + 1])


def test_a_gap_starts_a_new_run() -> None:
    front_end = AudioFrontEnd()
    front_end.push(Sound(1.0, SPEECH[:5000]))
    later = front_end.push(Sound(1.0 + 5000 / 16_000 + 0.06, SPEECH))
    assert later.time == 1.0 + 5000 / 16_000 + 0.06 + 0.025
    assert np.array_equal(later.frames, WHOLE)
    earlier = front_end.push(Sound(0.0, SPEECH))
    assert (earlier.time, np.array_equal(earlier.frames, WHOLE)) == (0.025, True)


def test_small_differences_of_time_do_not_start_a_run() -> None:
    front_end = AudioFrontEnd()
    frames = []
    for begin in range(0, len(SPEECH), 1000):
        jitter = 0.004 * (-1) ** (begin // 1000) if begin else 0.0
        frames.append(front_end.push(Sound(begin / 16_000 + jitter, SPEECH[begin : begin + 1000])).frames)
    assert np.array_equal(np.concatenate(frames), WHOLE)


def test_finish_starts_again() -> None:
    front_end = AudioFrontEnd()
    front_end.push(Sound(3.0, SPEECH))
    assert front_end.finish().frames.shape == (0, WIDTH)
    again = front_end.push(Sound(7.0, SPEECH))
    assert (again.time, np.array_equal(again.frames, WHOLE)) == (7.025, True)


def test_log_mels_are_those_of_kaldi() -> None:
    """Of a tone, the band around it has the most power."""
    frame = compute(0.1 * np.sin(2 * np.pi * 1000 * np.arange(1600) / 16_000))[-1]
    edges = np.linspace(1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + 7600 / 700), MEL_BINS + 2)
    centers = 700 * (np.exp(edges[1:-1] / 1127) - 1)
    assert np.argmax(frame[:MEL_BINS]) == np.argmin(np.abs(centers - 1000))
    assert frame[LOG_ENERGY] == pytest.approx(math.log(400 * 0.1**2 / 2), abs=0.01)


@pytest.mark.parametrize("hertz", [120, 220])
def test_log_pitch_of_a_voice_is_within_two_percent(hertz: float) -> None:
    frames = compute(make_voice(hertz, seconds=0.5))[10:]
    assert np.abs(frames[:, LOG_PITCH] - math.log(hertz)).max() < 0.02
    assert frames[:, VOICING].min() > 0.9


def test_loudness_changes_energies_by_its_logarithm_only() -> None:
    """Where nothing is at the lower limit of a logarithm."""
    samples = SPEECH + make_noise(0.03, seconds=1.2)
    loud, quiet = compute(samples), compute(samples * 0.25)
    difference = loud - quiet
    assert np.abs(difference[:, [*range(MEL_BINS), LOG_ENERGY]] - 2 * math.log(4)).max() < 2e-3
    assert np.abs(difference[:, [LOG_PITCH, VOICING]]).max() < 1e-3
    assert np.mean(difference[:, VOICE_ACTIVITY] == 0) > 0.97


def test_silence_and_telephone_sound_are_finite() -> None:
    silence = compute(np.zeros(8000))
    assert np.isfinite(silence).all()
    assert (silence == silence[0]).all()
    spectrum = np.fft.rfft(make_voice(120, seconds=0.5))
    spectrum[len(spectrum) // 2 :] = 0  # nothing above 4 kHz, as if it was sampled at 8 kHz
    frames = compute(np.fft.irfft(spectrum))
    assert np.isfinite(frames).all()
    assert np.abs(frames[10:, LOG_PITCH] - math.log(120)).max() < 0.02


def test_frames_with_bad_samples_are_not_valid() -> None:
    samples = SPEECH.copy()
    samples[1000], samples[9000] = np.nan, 1e30
    front_end = AudioFrontEnd()
    masks = []
    for begin in range(0, len(samples), 700):
        timed = front_end.push(Sound(begin / 16_000, samples[begin : begin + 700]))
        assert np.isfinite(timed.frames).all()
        masks.append(np.ones(len(timed.frames), bool) if timed.valid is None else timed.valid)
    expected = [not any(160 * k <= bad < 160 * k + 400 for bad in (1000, 9000)) for k in range(len(WHOLE))]
    assert np.concatenate(masks).tolist() == expected


def test_stereo_and_wrong_times_are_refused() -> None:
    with pytest.raises(UsageError, match=r"got 0.0 and \(400, 2\). Average the channels"):
        AudioFrontEnd().push(Sound(0.0, np.zeros((400, 2), np.float32)))
    with pytest.raises(UsageError, match=r"must have a finite time .* got nan"):
        AudioFrontEnd().push(Sound(math.nan, np.zeros(400, np.float32)))


def test_the_source_names_every_feature() -> None:
    source = AudioFrontEnd.source
    source.check_width(WIDTH, "audio")
    assert parse_features(features_to_json({"audio": source}), "features") == {"audio": source}
    assert AudioFrontEnd.period == 1 / (source.rate_hz or 0)
    assert source.names[VOICE_ACTIVITY] == "voice_activity"
    other = FeatureSource("edge-msa audio", "1", parameters={"mel_bins": 80})
    assert source.differences(other) == ["mel_bins=80 instead of mel_bins=40"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    with pytest.raises(Exception, match=r"pip install 'edge-msa-runtime\[audio\]'"):
        AudioFrontEnd()


@pytest.mark.slow
def test_the_front_end_makes_no_network_call(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: sudo apt-get install strace")
    code = (
        "import numpy as np; from edge_msa_runtime.audio.front_end import AudioFrontEnd, Sound;"
        "print(len(AudioFrontEnd().push(Sound(0.0, np.ones(16_000, np.float32))).frames))"
    )
    command = [strace, "-f", "-e", "trace=network", "-o", str(tmp_path / "calls"), sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "98\n"
    calls = [line for line in (tmp_path / "calls").read_text("utf-8").splitlines() if "(" in line]
    assert calls == []


def test_importing_the_front_end_imports_no_package() -> None:
    code = "import sys, edge_msa_runtime.audio.front_end; print('kaldi_native_fbank' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
