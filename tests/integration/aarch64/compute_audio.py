"""Compute the frames of sounds with the audio front end, in pieces of 100 ms.

    python compute_audio.py SOUNDS.npz FRAMES.npz

Needs only NumPy, kaldi-native-fbank and the runtime. `SOUNDS.npz` contains samples (n,) float32 at 16 kHz, and
`FRAMES.npz` gets frames (T, 44) under the same names.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from edge_msa_runtime.audio.front_end import AudioFrontEnd
from edge_msa_runtime.media.signals import SAMPLE_RATE, Sound

_PIECE = 1600  # samples


def main(sounds_path: str, frames_path: str) -> None:
    """Compute the frames of all sounds and write them."""
    frames: dict[str, Any] = {}
    for name, samples in np.load(sounds_path).items():
        front_end = AudioFrontEnd()
        pieces = [
            front_end.push(Sound(start / SAMPLE_RATE, samples[start : start + _PIECE])).frames
            for start in range(0, len(samples), _PIECE)
        ]
        frames[name] = np.concatenate(pieces)
    np.savez(frames_path, **frames)


if __name__ == "__main__":
    main(*sys.argv[1:])
