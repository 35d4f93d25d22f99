"""Several threads with one Whisper model, a stand-in."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, Iterator

import numpy as np

from edge_msa_runtime.media.signals import SAMPLE_RATE
from edge_msa_runtime.speech.whisper import WhisperRecognizer, _short_windows

SPEECH = {"no_speech_prob": 0.0, "avg_logprob": 0.0, "compression_ratio": 1.0}


class Model:
    """Notes the windows that each thread uses. Recognition of the second 30 s of a recording waits for `release`."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.used: dict[str, set[int]] = {}

    def encode(self, features: Any) -> None:
        self.used.setdefault(threading.current_thread().name, set()).add(features.shape[-1])

    def transcribe(self, samples: Any, **_: Any) -> tuple[Iterator[Any], None]:
        def segments() -> Iterator[Any]:
            for start in range(0, len(samples), 30 * SAMPLE_RATE):
                if start:
                    self.begun.set()
                    assert self.release.wait(60)
                self.encode(np.zeros((80, 3000), np.float32))
                yield SimpleNamespace(words=(), **SPEECH)

        return segments(), None


def test_a_long_recording_does_not_keep_others_out() -> None:
    recognizer = WhisperRecognizer.__new__(WhisperRecognizer)
    model = _short_windows(SimpleNamespace(WhisperModel=Model))()
    recognizer._model, recognizer._language = model, "en"
    long = threading.Thread(
        target=recognizer._recognize, args=(np.zeros(90 * SAMPLE_RATE, np.float32),), kwargs={"beams": 5}, name="long"
    )
    long.start()
    assert model.begun.wait(60)
    for _ in range(3):
        recognizer._recognize(np.zeros(2 * SAMPLE_RATE, np.float32), beams=1)
    assert long.is_alive()
    model.release.set()
    long.join()
    assert model.used == {"long": {3000}, threading.current_thread().name: {1000}}
