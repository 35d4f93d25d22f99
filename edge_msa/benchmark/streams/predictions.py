"""The predictions of a bundle at every moment of a playback, and those of the baselines that use the same bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_msa.benchmark.streams.playback import Playback
from edge_msa.benchmark.streams.regret import prior_prediction
from edge_msa.data.dataset import FloatArray
from edge_msa.data.synthetic.world import Array
from edge_msa_runtime.replay.items import FrameChunk
from edge_msa_runtime.session import Session
from edge_msa_runtime.streams.stream import Stream

HOLD, REPEAT, NO_MEMORY, PRIOR = "hold prediction", "repeat frame", "no memory", "prior"
BASELINES = (HOLD, REPEAT, NO_MEMORY, PRIOR)


@dataclass(frozen=True, eq=False)
class StreamPredictions:
    """The predictions of a bundle at M moments."""

    scores: Array
    """(M,). Before anything has arrived, it is the prior's prediction."""
    intervals: Array
    """Low and high end of the prediction interval, (M, 2); NaN if the bundle states none, or nothing has arrived."""


def stream_predictions(session: Session, playback: Playback) -> StreamPredictions:
    """Return the predictions of streams that get every arrival, one stream per utterance."""
    scores = np.full(len(playback.rows), prior_prediction())
    intervals = np.full((len(playback.rows), 2), np.nan)
    any_seen = np.any([mask.any(axis=1) for mask in playback.seen.values()], axis=0)
    # Chunks can overtake each other by as much as their delays differ.
    lateness = {name: faults.jitter for name, faults in playback.scenario.faults.items()}
    stream: Stream | None = None
    for moment, is_first in enumerate(playback.first):
        if stream is None or is_first:
            stream = session.create_stream(lateness=lateness, bad_frames="drop", context=False)
        for arrival in playback.arrivals[moment]:
            chunk = arrival.item
            if isinstance(chunk, FrameChunk):
                stream.push(chunk.modality, chunk.frames, chunk.timestamp, period=chunk.period)
        if any_seen[moment]:
            prediction = stream.predict(at=float(playback.times[moment]))
            scores[moment] = prediction.score
            if prediction.interval is not None:
                intervals[moment] = prediction.interval
    return StreamPredictions(scores, intervals)


def hold_predictions(playback: Playback, predictions: Array) -> Array:
    """Return the last prediction that was made when something of every modality had just arrived.

    This is a model that needs all modalities: it predicts only if every one of them has sent something since the
    previous moment, and otherwise its last prediction holds. Before its first prediction, it is the prior's.
    """
    held = np.full(len(predictions), prior_prediction())
    complete, first = playback.is_complete, playback.first
    for moment in range(len(held)):
        if complete[moment]:
            held[moment] = predictions[moment]
        elif not first[moment]:
            held[moment] = held[moment - 1]
    return held


def repeat_predictions(session: Session, playback: Playback, start: Mapping[str, FloatArray]) -> Array:
    """Return predictions from frames in which the last one that arrived replaces each one that is missing.

    This is a model that cannot mask frames.

    Args:
        session: The session of the bundle.
        playback: What arrives when.
        start: The frame of each modality before its first one, (d,), for example the mean of all frames.
    """

    def filled(moment: int) -> dict[str, FloatArray]:
        utterance = playback.utterances[playback.rows[moment]]
        frames = {}
        for name, own in utterance.frames.items():
            count = int(playback.due[name][moment])
            # Row 0 is the frame before the first one.
            last = np.where(playback.seen[name][moment, :count], np.arange(1, count + 1), 0)
            frames[name] = np.concatenate([start[name][None], own])[np.maximum.accumulate(last)]
        return frames

    return _predict_each(session, playback, filled)


def no_memory_predictions(session: Session, playback: Playback) -> Array:
    """Return predictions from what has arrived since the previous moment. If nothing has, it is the prior's."""

    def newest(moment: int) -> dict[str, FloatArray]:
        frames = playback.utterances[playback.rows[moment]].frames
        return {name: own[playback.new[name][moment, : len(own)]] for name, own in frames.items()}

    return _predict_each(session, playback, newest)


def _predict_each(session: Session, playback: Playback, select: Callable[[int], dict[str, FloatArray]]) -> Array:
    """Return the prediction from the frames that `select` returns for each moment; without any, the prior's."""
    predictions = np.full(len(playback.rows), prior_prediction())
    for moment in range(len(predictions)):
        frames: dict[str, Any] = {name: part for name, part in select(moment).items() if len(part)}
        if frames:
            predictions[moment] = session.predict(**frames).score
    return predictions
