"""Streams of cascades: one stream per member. The larger members' streams only collect until they are asked."""
# ruff: noqa: SLF001 - a stream of a cascade is a stream that is made of streams

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Callable, Sequence

from edge_msa_runtime.prediction import Prediction, revise
from edge_msa_runtime.streams.stream import Stream

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edge_msa_runtime.cascade.routing import Ask, Counts
    from edge_msa_runtime.session import Session
    from edge_msa_runtime.streams.options import StreamOptions
    from edge_msa_runtime.streams.stream import PreparedPrediction


class CascadeStream(Stream):
    """The stream of the first member, which passes everything on to the streams of the others.

    Those encode nothing until they are asked, or until their queue is full. They are asked at the moment of the
    prediction of the first member, and then process everything since they were asked last.

    Args:
        first: session of the first member.
        others: streams of the other members.
        options: options of the stream.
        complete: returns the prediction of the cascade, see `CascadeSession.complete`.
        check_language_frames: raises an error if the members do not take language frames.
    """

    def __init__(
        self,
        first: Session,
        others: Sequence[Stream],
        options: StreamOptions,
        complete: Callable[[Prediction, Counts | None, Ask], Prediction],
        check_language_frames: Callable[[], None],
    ) -> None:
        manifest = dataclasses.replace(first.manifest, context=None)
        super().__init__(first.graphs, first._validator, first._text_encoder, manifest, options, first._interpreter)
        self._complete, self._check_language_frames = complete, check_language_frames
        self._others = tuple(others)
        self._lapse = 0.0

    def push(
        self,
        modality: str,
        frames: ArrayLike,
        timestamp: float | None = None,
        *,
        period: float | None = None,
        valid: ArrayLike | None = None,
    ) -> None:
        """Add frames, as `Stream.push` does."""
        if modality == "language":
            self._check_language_frames()
        super().push(modality, frames, timestamp, period=period, valid=valid)
        for stream in self._others:
            stream.push(modality, frames, timestamp, period=period, valid=valid)

    def push_text(
        self,
        text: str | Sequence[str],
        times: ArrayLike | Sequence[tuple[float, float]] | None = None,
        *,
        timestamp: float | None = None,
    ) -> None:
        """Add words, as `Stream.push_text` does."""
        super().push_text(text, times, timestamp=timestamp)
        for stream in self._others:
            stream.push_text(text, times, timestamp=timestamp)

    def advance(self, modality: str, until: float) -> None:
        """Promise that no earlier frame will come, as `Stream.advance` does."""
        for stream in self._streams:
            Stream.advance(stream, modality, until)

    def forget(self, *modalities: str) -> None:
        """Remove the frames of some modalities, as `Stream.forget` does."""
        for stream in self._streams:
            Stream.forget(stream, *modalities)

    def reset(self) -> None:
        """Start again, as `Stream.reset` does."""
        for stream in self._streams:
            Stream.reset(stream)

    def close(self) -> None:
        """Remove all frames, as `Stream.close` does."""
        for stream in self._streams:
            Stream.close(stream)

    @property
    def _streams(self) -> tuple[Stream, ...]:
        return (self, *self._others)

    def _predict(self, at: float | None, *, is_final: bool = False, lapse: float = 0.0) -> Prediction:
        self._lapse = lapse  # needs the lock for encoding, as everything below
        try:
            return super()._predict(at, is_final=is_final, lapse=lapse)
        finally:
            self._lapse = 0.0

    def _finish(
        self, prepared: PreparedPrediction, outputs: Sequence[float], started: float, *, is_final: bool = False
    ) -> Prediction:
        first = super()._finish(prepared, outputs, started, is_final=is_final)
        counts = {name: self._shown[name].frames for name in prepared.states}
        at = self._earliest_at if self._is_timed else None

        def ask(member: int) -> tuple[Prediction, None]:
            stream = self._others[member - 1]
            with stream._encoding_lock:
                return stream._predict(at, is_final=is_final, lapse=self._lapse), None

        prediction = self._complete(first, counts if self._interpreter.needs_counts else None, ask)
        latency_ms = (time.perf_counter() - started) * 1e3
        delay_ms = first.delay_ms + max(0.0, latency_ms - first.latency_ms)
        return revise(prediction, latency_ms=latency_ms, delay_ms=delay_ms)

    def _start_utterance(self, end: float, moment: float, suffix: str) -> None:
        super()._start_utterance(end, moment, suffix)
        for stream in self._others:
            with stream._encoding_lock:
                stream._skip_utterance(end, moment)
