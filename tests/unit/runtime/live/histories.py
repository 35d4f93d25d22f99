"""A history for tests of the page and the annotated video."""

from __future__ import annotations

import math

from edge_msa_runtime.live.history import History
from edge_msa_runtime.replay.items import WordChunk
from edge_msa_runtime.streams.events import StreamEvent
from tests.unit.runtime.replay.made_predictions import make

HEADER = {
    "title": "talk.mp4",
    "subtitle": "bundle talk",
    "task": {"kind": "mosi", "low": -3.0, "high": 3.0, "labels": ["negative", "neutral", "positive"]},
    "modalities": ["language", "audio", "vision"],
    "every": 0.5,
    "coverage": 0.9,
    "seconds": 42.0,
    "notes": ["pictures without an increasing time left out"],
}
SENTENCE = "i love this film and the acting was really wonderful but the end disappointed me a lot"


def make_history(seconds: float = 42.0) -> History:
    """Return predictions every 0.5 s: utterances of 6 s, a word per 0.4 s, and no vision from 14 to 24 s."""
    history = History()
    for index in range(1, round(seconds * 2) + 1):
        time = index / 2
        score = 2 * math.sin(time / 5)
        width = 0.7 + 1.2 / (1 + time % 6)
        subset = ("l" if time % 6 > 0.6 else "") + "a" + ("" if 14 < time <= 24 else "v")
        is_final = time % 6 == 0
        label = "positive" if score > 0.5 else "negative" if score < -0.5 else "neutral"
        interval = (max(-3.0, score - width), min(3.0, score + width))
        history.on_prediction(make(time, score, is_final=is_final, subset=subset, label=label, interval=interval))
    said = [
        "i",
        "love",
        "this",
        "film",
        "and",
        "the",
        "acting",
        "was",
        "really",
        "wonderful",
        "but",
        "the",
        "end",
        "disappointed",
        "me",
        "a",
        "lot",
    ]
    for index in range(round(seconds / 0.4)):
        start = index * 0.4
        if start % 6 < 4.8:
            history.on_words(start, WordChunk((said[index % len(said)],), ((start, start + 0.35),)))
    history.on_event(15.0, StreamEvent("absent", "vision", 0, 15.0, "vision is absent: its newest frame is 1.1 s old"))
    history.on_event(24.5, StreamEvent("returned", "vision", 0, 24.5, "vision is back: its newest frame is 0 s old"))
    return history
