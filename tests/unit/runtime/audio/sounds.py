"""Sounds for tests, as float64 samples at 16 kHz."""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 16_000


def make_times(seconds: float) -> Any:
    return np.arange(round(seconds * RATE)) / RATE


def make_noise(level: float, seconds: float, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)) if level else 0.0


def make_voice(hertz: float, seconds: float, level: float = 0.2) -> Any:
    """Return a steady voice: harmonics that get weaker."""
    times = make_times(seconds)
    numbers = range(1, min(20, int(7000 / hertz)) + 1)
    return level * sum(np.sin(2 * np.pi * hertz * number * times + number) / number for number in numbers)


def make_syllables(seconds: float, seed: int = 0) -> Any:
    """Return something like speech: four syllables per second, with moving pitch and vowels that change."""
    generator = np.random.default_rng(seed)
    times = make_times(seconds)
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * times)) / RATE
    loudness = np.clip(np.sin(2 * np.pi * 4 * times) + 0.6, 0, 1)
    vowels = generator.uniform((300, 900), (800, 2500), (round(seconds * 4) + 2, 2))
    index = (times * 4 + 0.1).astype(int)
    samples = np.zeros(len(times))
    for number in range(1, 30):
        hertz = 140.0 * number
        gains = sum(1 / (1 + ((hertz - vowels[index, formant]) / 150) ** 2) for formant in range(2))
        samples += gains * np.sin(number * phase)
    return 0.1 * loudness * samples


def make_tones(seconds: float, seed: int = 1) -> Any:
    """Return music-like tones: chords that fade, between a quarter of a second and a second long."""
    generator = np.random.default_rng(seed)
    parts: list[Any] = []
    while sum(len(part) for part in parts) < seconds * RATE:
        times = make_times(generator.choice([0.25, 0.5, 1.0]))
        root = generator.choice([110, 146.8, 196, 220, 261.6, 329.6])
        waves = (np.sin(2 * np.pi * root * ratio * h * times) / h for ratio in (1, 1.26, 1.5) for h in (1, 2, 3))
        parts.append(0.05 * sum(waves) * np.exp(-2 * times))
    return np.concatenate(parts)[: round(seconds * RATE)]
