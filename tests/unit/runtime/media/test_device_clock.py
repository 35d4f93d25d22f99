"""Devices whose clock differs from that of the computer."""

from __future__ import annotations

from typing import Any, Iterator

import numpy as np
import pytest

from edge_msa_runtime.media.device_clock import DeviceClock
from edge_msa_runtime.media.signals import SAMPLE_RATE, Sound

pytest.importorskip("av", reason="the extra audio is not installed")

RATE = 48_000
SOUND = np.sin(np.arange(RATE) / 20).astype(np.float32)


def blocks(size: int, jitter: float = 0.0) -> Iterator[tuple[float, Any]]:
    """Yield one second of sound in blocks whose times jitter."""
    rng = np.random.default_rng(0)
    for first in range(0, RATE, size):
        yield 1.0 + first / RATE + rng.uniform(-jitter, jitter) * bool(first), SOUND[first : first + size]


@pytest.mark.parametrize(("size", "jitter"), [(2048, 0.0), (480, 0.02), (7, 0.04), (RATE, 0.0)])
def test_blocks_of_any_size_and_jitter_give_the_same_sound(size: int, jitter: float) -> None:
    clock, whole = DeviceClock(RATE), DeviceClock(RATE)
    (expected,) = whole.push(1.0, SOUND)
    sounds = [sound for time, block in blocks(size, jitter) for sound in clock.push(time, block)]
    for sound, following in zip(sounds, sounds[1:]):
        assert sound.end == pytest.approx(following.time, abs=1e-9)
    assert sounds[0].time == 1.0
    joined = np.concatenate([sound.samples for sound in sounds])
    np.testing.assert_array_equal(joined[: len(expected.samples)], expected.samples[: len(joined)])


def test_sound_after_a_gap_has_a_later_time() -> None:
    clock = DeviceClock(RATE)
    clock.push(0.0, SOUND)
    assert clock.lateness(1.2) == pytest.approx(0.2)
    rest, later = clock.push(1.2, SOUND, is_gap=True)
    assert rest.end == pytest.approx(1.0, abs=1e-3)
    assert later.time == 1.2


def test_a_clock_that_is_set_back_does_not_repeat_sound() -> None:
    clock = DeviceClock(RATE)
    (first,) = clock.push(5.0, SOUND)
    (second,) = clock.push(2.0, SOUND)
    assert second.time == pytest.approx(first.end)
    (third,) = clock.push(3.0, SOUND)
    assert third.time == pytest.approx(second.end)


def record(seconds: float, drift: float, jitter: float, every: float = 10.0) -> tuple[list[Sound], list[float]]:
    """Return the sound of a device, and when a click was recorded in it.

    Args:
        seconds: length.
        drift: share by which the device has fewer samples per second than it states.
        jitter: largest delay of a block in seconds.
        every: seconds between clicks.
    """
    rng = np.random.default_rng(0)
    clock, sounds, clicks = DeviceClock(SAMPLE_RATE), [], []
    for index in range(round(seconds * 10)):
        start = 7.0 + index / 10 * (1 + drift)
        block = np.full(1600, 0.001, np.float32)
        if index % round(every * 10) == 5:
            block[800] = 1.0
            clicks.append(start + 0.05)
        sounds += clock.push(start + jitter * rng.random() ** 2, block)
    return sounds, clicks


def errors(sounds: list[Sound], clicks: list[float]) -> Any:
    """Return how much the times of clicks differ from when they were recorded."""
    found = [sound.time + int(np.argmax(sound.samples)) / SAMPLE_RATE for sound in sounds if sound.samples.max() > 0.9]
    return np.subtract(found, clicks)


@pytest.mark.parametrize(("seconds", "drift"), [(3600.0, 2e-4), (300.0, -2e-4)])
def test_sound_of_a_device_with_another_clock_stays_in_time(seconds: float, drift: float) -> None:
    sounds, clicks = record(seconds, drift, jitter=0.02)
    assert np.abs(errors(sounds, clicks)).max() < 0.025
    assert max(abs(b.time - a.end) for a, b in zip(sounds, sounds[1:])) < 1e-9  # it has no gap


def test_a_device_with_the_same_clock_is_not_changed() -> None:
    sounds, clicks = record(60.0, 0.0, jitter=0.001)
    assert sum(len(sound.samples) for sound in sounds) == 60 * SAMPLE_RATE
    assert np.abs(errors(sounds, clicks)).max() < 0.002


def test_a_first_block_that_came_late_is_corrected() -> None:
    clock, last = DeviceClock(SAMPLE_RATE), None
    for index in range(300):
        for sound in clock.push(index / 10 + 0.04 * (index == 0), np.zeros(1600, np.float32)):
            last = sound
    assert last is not None
    assert last.end == pytest.approx(30.0, abs=0.004)


def test_sound_that_is_missing_for_good_gives_a_gap() -> None:
    clock, sounds = DeviceClock(SAMPLE_RATE), []
    for index in range(200):
        sounds += clock.push(index / 10 + 0.3 * (index >= 100), np.zeros(1600, np.float32))
    gaps = [b.time - a.end for a, b in zip(sounds, sounds[1:]) if b.time - a.end > 1e-6]
    assert gaps == pytest.approx([0.3])
    assert sounds[-1].end == pytest.approx(20.3)
