"""Streams: push frames and words as they arrive, and predict at any time."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterable, Mapping, NamedTuple, Sequence, cast

import numpy as np

from edge_msa_runtime.conversation import Conversation
from edge_msa_runtime.errors import BadTimeError, EdgeMsaError, NothingToPredictError, UsageError
from edge_msa_runtime.inputs.validation import range_warnings
from edge_msa_runtime.log_notes import LOGGER
from edge_msa_runtime.modalities import MODALITIES, Subset
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.streams.asynchronous import predict_regularly
from edge_msa_runtime.streams.channel import NEVER, Channel
from edge_msa_runtime.streams.encoding import Encoding
from edge_msa_runtime.streams.events import StreamCounters, StreamEvent
from edge_msa_runtime.streams.frame_channel import FrameChannel
from edge_msa_runtime.streams.frame_queue import Chunk
from edge_msa_runtime.streams.times import (
    SAME_SECONDS,
    check_clock,
    check_period,
    check_time,
    count_frames,
    count_words,
    format_time,
)
from edge_msa_runtime.streams.word_channel import WordChannel
from edge_msa_runtime.text.encoders import require_text_encoder
from edge_msa_runtime.text.words import Word, parse_words

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edge_msa_runtime.bundle.manifest import Manifest
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import Frames, InputValidator
    from edge_msa_runtime.interpretation import Interpreter
    from edge_msa_runtime.streams.deferred_steps import DeferredSteps, StepGraphs
    from edge_msa_runtime.streams.options import StreamOptions
    from edge_msa_runtime.text.encoders import TextEncoder

_SUBSETS = {subset.modalities: subset.value for subset in Subset}
_new_tuple = tuple.__new__
_UNDECIDED, _TIMED, _UNTIMED, _CLOSED = range(4)


class PreparedPrediction(NamedTuple):
    """What a prediction needs besides the last graph. All but the last two are by modality.

    Attributes:
        states: states of the subset; with a window, their frames.
        ages: ages in seconds.
        masked: shares of masked frames.
        arrived: when the newest frame of the subset arrived.
        has_window: whether the stream has a window.
    """

    states: dict[str, Any]
    ages: dict[str, float]
    masked: dict[str, float]
    arrived: float
    has_window: bool


class Stream:
    """Frames and words that arrive in chunks, and the predictions from them. Create one with `Session.create_stream`.

    A stream holds one utterance: every frame and word since its start counts, however old. Call `end_utterance`
    between utterances and `forget` when a sensor stops, or create the stream with a `max_age` or a `window`.

    Pass timestamps with all pushes of a stream, or with none; the first push decides. With timestamps, frames may come
    in any order within the lateness of the stream, in any chunks and several times: the predictions are the same.
    Without, frames count in the order of their arrival.

    Each stream has its own state, so one session can serve many streams. Any number of threads may use a stream. A push
    does not wait for a prediction that another thread computes. The memory of a stream is bounded.
    """

    def __init__(
        self,
        graphs: Graphs,
        validator: InputValidator,
        text_encoder: TextEncoder | None,
        manifest: Manifest,
        options: StreamOptions,
        interpreter: Interpreter,
    ) -> None:
        self._graphs = graphs
        self._text_encoder = text_encoder
        self._interpreter = interpreter
        self._options = options
        self._clock = options.clock
        self._validate = validator.validate_chunk
        self._gap_frames = validator.gap_frames
        self._masks_bad = options.bad_frames == "mask"
        self._max_jump = options.max_jump
        self._longest_lateness = max(options.lateness.values())
        self._oldest = {name: min(gap, options.max_age) + SAME_SECONDS for name, gap in options.max_gap.items()}
        rates = {name: manifest.modalities[name].features.rate_hz for name in MODALITIES if name in manifest.modalities}
        self._periods = {name: 1 / rate if rate else None for name, rate in rates.items()}
        # The first lock is held only to look at or change queues, counters and times, the second while graphs run.
        # A thread that needs both takes the second one first.
        self._lock = threading.RLock()
        self._encoding_lock = threading.RLock()
        self._channels: dict[str, Channel] = {
            name: FrameChannel(name, options, self._gap_frames.get(name)) for name in self._periods
        }
        self._shown: dict[str, Encoding] = {}  # what the last prediction used
        self._incomplete: list[Channel] = []  # of which the last prediction lacks frames that were dropped
        self._conversation = Conversation(manifest.context if options.context else None)
        self._has_context = options.context and manifest.context is not None
        length = 0 if text_encoder is None or not options.context else text_encoder.context
        self._earlier: deque[list[int]] = deque(maxlen=length)  # tokens of the utterances that the text encoder reads
        self._events: list[StreamEvent] = []
        self._closing: list[Callable[[], object]] = []  # called by `close`
        self._may_warn = False  # whether predictions can have warnings
        self._start()

    def _start(self) -> None:
        """Start the time of the stream."""
        self._mode = _UNDECIDED
        self._latest = NEVER  # newest event time of any modality
        self._jump_limit = sys.float_info.max  # for timestamps
        self._earliest_at = NEVER  # for predictions
        self._voice = NEVER  # newest time with voice
        self._end = math.inf  # of the utterance, while late frames and words of it may still come
        self._end_of_voice = NEVER  # in that utterance

    def __repr__(self) -> str:
        """Return what a prediction would use, e.g. `<Stream with la, 12 words>`. It changes nothing."""
        with self._lock:
            names = self._current_names()
            words = ""
            channel = self._channels.get("language")
            if "language" in names and isinstance(channel, WordChannel):
                text = channel.encoding.text
                words = f", {channel.held + (text.total_words if text else 0)} words"
            closed = ", closed" if self._mode == _CLOSED else ""
            return f"<Stream with {Subset.of(names).value if names else 'no frames'}{words}{closed}>"

    @property
    def subset(self) -> str:
        """The modalities that a prediction would use now, such as `la`; empty if there is nothing to predict from."""
        with self._lock:
            names = self._current_names()
        return Subset.of(names).value if names else ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that affect the last prediction, with their times, unless they were forgotten since.

        Words beyond the maximum number of tokens do not affect it.
        """
        with self._lock:
            shown = self._shown.get("language")
            if shown is None or shown.text is None or "language" not in self._current_names():
                return ()
            return shown.text.words

    @property
    def counters(self) -> Mapping[str, StreamCounters]:
        """What became of the frames of each modality, and of words, since the stream was created."""
        with self._lock:
            return {name: channel.tally.snapshot() for name, channel in self._channels.items()}

    def push(
        self,
        modality: str,
        frames: ArrayLike,
        timestamp: float | None = None,
        *,
        period: float | None = None,
        valid: ArrayLike | None = None,
    ) -> None:
        """Add any number of frames of one modality. This runs no graph, except if the queue is full.

        Args:
            modality: one of the bundle's modalities.
            frames: frames (T, d), as in `Session.predict`. You may reuse the array afterwards.
            timestamp: event time of the first frame in seconds, at least 0. None: now, by the stream's clock.
            period: seconds from one frame to the next. None: by the frame rate of the features in training, if the
                bundle states it.
            valid: boolean mask (T,).

        Raises:
            UsageError: an argument is invalid, or the stream or its session is closed. The stream is unchanged. With
                the options `bad_frames` and `late_frames`, frames are dropped instead.
        """
        try:
            channel = self._channels[modality]
        except (KeyError, TypeError):
            raise self._unknown(modality) from None
        arrived = self._clock()
        step = self._periods[modality] if period is None else period
        try:
            rows, mask, is_far = self._validate(modality, frames, valid, self._masks_bad)
        except UsageError as error:
            self._refuse(channel, count_frames(frames), error)
            return
        size = len(rows) if mask is None else len(mask)
        if is_far:
            self._may_warn = True
        try:
            with self._lock:
                if (  # the usual case: a chunk of valid frames after all others
                    type(timestamp) is float
                    and type(step) is float
                    and type(channel) is FrameChannel
                    and mask is None
                    and size
                    and channel.frontier < timestamp
                    and 0.0 < step <= self._max_jump
                    and (last := timestamp + step * (size - 1)) <= self._jump_limit
                    and self._mode == _TIMED
                    and not self._graphs.is_closed
                ):
                    is_full = channel.append(timestamp, last, size, rows, arrived, step, is_far) > channel.capacity
                    if last > self._latest:
                        self._latest = last
                        self._jump_limit = last + self._max_jump + SAME_SECONDS
                else:
                    chunk = Chunk(arrived, arrived, size, rows, arrived, 0.0, is_far, None, mask)
                    channel = self._insert(modality, chunk, timestamp, period)
                    is_full = channel.held > channel.capacity
        except UsageError as error:
            self._refuse(channel, size, error, is_soft=isinstance(error, BadTimeError))
            return
        if is_full:
            self._make_room(channel)
        if self._events:
            self._emit()

    def push_text(
        self,
        text: str | Sequence[str],
        times: ArrayLike | Sequence[tuple[float, float]] | None = None,
        *,
        timestamp: float | None = None,
    ) -> None:
        """Add any number of words. This runs no graph, except if the queue is full.

        The event time of a word is its end, because it is complete then. Use either words or language frames between
        two calls of `reset`. If the text encoder is not a table, each prediction after new words encodes all words.

        Args:
            text: a string of whole words, or a list of words.
            times: (start, end) in seconds for each word.
            timestamp: event time of the words in seconds, if they have no times. None: now, by the stream's clock.

        Raises:
            UsageError: as for `push`.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        arrived = self._clock()
        channel = self._channels.get("language")
        if channel is None:
            raise self._unknown("language")
        count = count_words(text)
        try:
            encoder = require_text_encoder(self._text_encoder)
            if times is not None and timestamp is not None:
                raise UsageError("Pass times or timestamp, not both.")  # noqa: TRY301
            words = parse_words(text, times)
            time = arrived if timestamp is None else check_time("timestamp", timestamp)
            tokenizer = encoder.tokenizer
            timed_words = [
                (word, tokenizer.word_ids(word.text), time if word.end is None else word.end) for word in words
            ]
        except UsageError as error:
            self._refuse(channel, count, error)
            return
        try:
            with self._lock:
                self._check_usable()
                channel = self._word_channel(encoder)
                timed = times is not None or timestamp is not None
                if timed:
                    newest = max((item[2] for item in timed_words), default=0.0)
                    self._check_span(min((item[2] for item in timed_words), default=0.0), newest)
                else:
                    check_clock(arrived)
                self._decide(timed=timed)
                channel.insert(timed_words, arrived, self._note, timed=timed)
                self._channels["language"] = channel
                self._may_warn = True
                if timed and timed_words:
                    self._move_on(newest)
                is_full = channel.held > channel.capacity
        except UsageError as error:
            self._refuse(channel, count, error, is_soft=isinstance(error, BadTimeError))
            return
        if is_full:
            self._make_room(channel)
        if self._events:
            self._emit()

    def advance(self, modality: str, until: float) -> None:
        """Promise that no frame of a modality from before a time will come. It shows that the sensor works.

        Args:
            modality: one of the bundle's modalities.
            until: event time in seconds.

        Raises:
            UsageError: an argument is invalid, the stream is used without timestamps, or it is closed.
        """
        if not isinstance(modality, str) or modality not in self._channels:
            raise self._unknown(modality)
        time = check_time("until", until)
        with self._lock:
            self._check_usable()
            self._check_jump(time)
            self._decide(timed=True)
            self._channels[modality].advance(time)
            self._move_on(time)

    def predict(self, at: float | None = None) -> Prediction:
        """Predict from the frames and words up to a moment. `latency_ms` is the time of this call, without the pushes.

        Args:
            at: event time in seconds, not before that of the previous prediction. Frames after it stay in the queue.
                None: the newest event time of all modalities; without timestamps, now.

        Raises:
            UsageError: there is no valid frame or word, `at` is invalid, or the stream or its session is closed.
            InferenceError: the backend failed. No frame is lost; you may predict again.
        """
        try:
            with self._encoding_lock:
                return self._predict(at)
        finally:
            if self._events:
                self._emit()

    async def predictions(self, every: float = 0.5) -> AsyncIterator[Prediction]:
        """Yield a prediction every `every` seconds, as `predict()` does in the default executor of the event loop.

        Moments at which there is nothing to predict from are skipped. The iterator ends when the stream is closed.

        Raises:
            UsageError: `every` is not positive, or the session is closed.
            InferenceError: the backend failed.
        """
        if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0 < every < math.inf:
            raise UsageError(f"every must be a positive number of seconds, got {every!r}.")
        async for prediction in predict_regularly(self._predict_if_possible, self._is_closed, self._closing, every):
            yield prediction

    def end_utterance(self, at: float | None = None) -> Prediction | None:
        """Return the final prediction of the utterance, and start the next one.

        If the bundle has a conversation memory, the utterance enters it and adjusts later predictions of the stream. If
        its text encoder reads earlier utterances, it reads this one from now on.
        Frames after `at` belong to the next utterance. Frames up to `at` that come later are late.

        Args:
            at: as in `predict`.

        Returns:
            The prediction; None if there was nothing to predict from.

        Raises:
            UsageError: `at` is invalid, or the stream or its session is closed.
            InferenceError: the backend failed. The utterance goes on.
        """
        try:
            with self._encoding_lock:
                return self._end_utterance(at)
        finally:
            if self._events:
                self._emit()

    def voice_activity(self, active: bool, timestamp: float | None = None) -> Prediction | None:
        """Report whether there is voice. After `pause` seconds without, the utterance ends at `timestamp`.

        In a stream with a `lateness`, the final prediction waits for late frames and words: a later call returns it,
        when the largest lateness has passed since the end. Until then, predictions cover only what is before the end.

        The final prediction uses the modalities that were present when the voice ended: `max_gap` and `max_age` do not
        count the pause.

        Args:
            active: whether there is voice.
            timestamp: event time in seconds. None: now, by the stream's clock, if the stream is used without
                timestamps.

        Returns:
            The final prediction if the utterance has ended and nothing of it can come any more, else None.

        Raises:
            UsageError: `timestamp` is invalid, or the stream or its session is closed.
            InferenceError: the backend failed. The utterance goes on.
        """
        if not isinstance(active, (bool, np.bool_)):
            raise UsageError(f"active must be true or false, got {active!r:.60}. Compare a level to a threshold.")
        if timestamp is None:
            if self._mode == _TIMED:
                raise UsageError("voice_activity needs a timestamp, because the frames of this stream have timestamps.")
            now = check_clock(self._clock())
        else:
            now = check_time("timestamp", timestamp)
        with self._lock:
            self._check_usable()
            if self._mode == _TIMED:
                self._check_jump(now)
            if active:
                self._voice = max(self._voice, now)
            if not self._ends(now):
                return None
        try:
            with self._encoding_lock:
                if not self._ends(now):  # another thread has ended the utterance meanwhile
                    return None
                return self._end_utterance(self._end if self._mode == _TIMED else None, self._end_of_voice)
        finally:
            if self._events:
                self._emit()

    def forget(self, *modalities: str) -> None:
        """Remove the frames of some modalities, and all words for `language`. They are absent until the next push.

        Args:
            modalities: at least one of the bundle's modalities.

        Raises:
            UsageError: a modality is not in the bundle, none is passed, or the stream or its session is closed.
        """
        with self._encoding_lock, self._lock:
            self._check_usable()
            if not modalities:
                raise UsageError(
                    f"forget() needs at least one of {', '.join(self._channels)}. To forget all, call reset()."
                )
            for name in modalities:
                if not isinstance(name, str) or name not in self._channels:
                    raise UsageError(
                        f"forget() needs names of {', '.join(self._channels)}, got {name!r:.60}. Pass each as an "
                        "argument."
                    )
            for name in modalities:
                self._clear(name)

    def reset(self) -> None:
        """Remove all frames and words, forget the conversation, and start the time of the stream again.

        The counters go on.

        Raises:
            UsageError: the stream or its session is closed.
        """
        with self._encoding_lock, self._lock:
            self._check_usable()
            for name, channel in self._channels.items():
                channel.start = NEVER
                self._clear(name)
            self._conversation.reset()
            self._earlier.clear()
            self._start()

    def close(self) -> None:
        """Remove all frames. Later uses raise a UsageError; closing again does nothing. The counters remain.

        A prediction that another thread has started ends normally.
        """
        with self._lock:
            self._mode = _CLOSED
            for channel in self._channels.values():
                channel.close()
        for wake in tuple(self._closing):
            wake()
        if self._encoding_lock.acquire(blocking=False):  # else a prediction still needs the states
            try:
                for channel in self._channels.values():
                    channel.forget_state()
                self._shown = {}
            finally:
                self._encoding_lock.release()

    def __enter__(self) -> Stream:  # noqa: PYI034 - typing.Self needs Python 3.11
        with self._lock:
            self._check_usable()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def belongs_to(self, graphs: Graphs) -> bool:
        """Return whether the stream uses these graphs, that is, whether it is a stream of their session."""
        return self._graphs is graphs

    # What follows up to `_predict` needs the lock of the queues.

    def _check_usable(self) -> None:
        if self._mode == _CLOSED:
            raise UsageError("This stream is closed. Create another one with session.create_stream().")
        self._graphs.check_open()

    def _decide(self, *, timed: bool) -> None:
        """Check that either all pushes have timestamps or none."""
        if self._mode == _UNDECIDED:
            if not timed and any(self._options.lateness.values()):
                raise UsageError("lateness needs timestamps. Pass a timestamp, or create the stream without lateness.")
            self._mode = _TIMED if timed else _UNTIMED
        elif timed != (self._mode == _TIMED):
            others, this = ("have no timestamps", "has one") if timed else ("have timestamps", "has none")
            raise UsageError(
                f"Earlier pushes of this stream {others}, but this one {this}. Pass timestamps always or never, or "
                "reset the stream."
            )

    def _check_jump(self, time: float) -> None:
        if time > self._jump_limit:
            raise BadTimeError(
                f"A time must be at most {self._max_jump:g} s after the newest time of the stream, "
                f"{format_time(self._latest)} s, got {format_time(time)}. Pass seconds, or create the stream with a "
                "larger max_jump."
            )

    def _check_span(self, first: float, last: float) -> None:
        """Check the first and the last time of a push, also of the first one."""
        self._check_jump(first)
        self._check_jump(last)
        if self._latest == NEVER and last - first > self._max_jump + SAME_SECONDS:
            raise BadTimeError(
                f"The times of a push must be at most {self._max_jump:g} s apart, got {format_time(first)} "
                f"to {format_time(last)}. Pass seconds, or create the stream with a larger max_jump."
            )

    def _move_on(self, time: float) -> None:
        if time > self._latest:
            self._latest = time
            self._jump_limit = time + self._max_jump + SAME_SECONDS

    def _insert(self, modality: str, chunk: Chunk, timestamp: Any, period: Any) -> FrameChannel:
        """Queue a chunk that has no times yet, in any case that `push` does not treat itself."""
        self._check_usable()
        channel = self._frame_channel(modality)
        if timestamp is not None:
            first = check_time("timestamp", timestamp)
            known = self._periods[modality]
            step = known if period is None and known else check_period(modality, period, chunk.size, self._max_jump)
            last = first + step * max(0, chunk.size - 1)
            self._check_span(first, last)
            chunk = chunk._replace(first=first, last=last, period=step)
        elif period is not None:
            raise UsageError("period needs a timestamp. Pass both, or none.")
        else:
            check_clock(chunk.arrived)
        self._decide(timed=timestamp is not None)
        self._channels[modality] = channel
        if chunk.size and timestamp is None:
            channel.append_untimed(chunk, self._note)
        elif chunk.size:
            channel.insert(chunk, self._note)
            self._move_on(chunk.last)
        return channel

    def _frame_channel(self, modality: str) -> FrameChannel:
        channel = self._channels[modality]
        if isinstance(channel, FrameChannel):
            return channel
        if not channel.is_empty:
            raise UsageError("This stream has text already. Continue with push_text, or reset the stream.")
        frames = FrameChannel(modality, self._options, self._gap_frames.get(modality))
        frames.inherit(channel)
        return frames

    def _word_channel(self, encoder: TextEncoder) -> WordChannel:
        channel = self._channels["language"]
        if isinstance(channel, WordChannel):
            return channel
        if not channel.is_empty:
            raise UsageError(
                "This stream has language frames already. Continue with push, or reset the stream to pass text."
            )
        words = WordChannel("language", self._options, encoder, self._earlier)
        words.inherit(channel)
        return words

    def _ends(self, now: float) -> bool:
        """Return whether the utterance is to end now: the voice has paused, and nothing of it can come any more."""
        if self._end == math.inf and self._voice > NEVER and now - self._voice >= self._options.pause - SAME_SECONDS:
            self._end, self._end_of_voice = max(now, self._earliest_at), self._voice
        return now >= self._end + self._longest_lateness - SAME_SECONDS

    def _clear(self, name: str) -> None:
        self._channels[name].clear()
        self._shown.pop(name, None)

    def _current_names(self) -> list[str]:
        """Return the modalities that a prediction would use now."""
        if self._mode == _CLOSED:
            return []
        now = self._latest if self._mode == _TIMED else self._clock()
        options = self._options
        span = options.max_age if options.window is None else min(options.max_age, options.window)
        return [
            name
            for name, channel in self._channels.items()
            if channel.last_valid > NEVER
            and now - channel.last_valid <= span + SAME_SECONDS
            and now - max(channel.last_valid, channel.bound) <= options.max_gap[name] + SAME_SECONDS
        ]

    def _note(self, kind: str, modality: str, count: int, timestamp: float, message: str) -> None:
        """Keep an event until the locks are released."""
        if self._options.on_event is not None:
            with self._lock:
                self._events.append(StreamEvent(kind, modality, count, timestamp, message))

    def _emit(self) -> None:
        """Report the events so far. Call it without locks."""
        while self._events:
            with self._lock:
                events, self._events = self._events, []
            for event in events:
                try:
                    if self._options.on_event is not None:
                        self._options.on_event(event)
                except Exception:  # noqa: BLE001 - must not reach the thread that pushes
                    LOGGER.exception("on_event failed for: %s", event.message)

    def _refuse(self, channel: Channel, count: int, error: UsageError, *, is_soft: bool = True) -> None:
        """Count a push that is refused, and raise its error unless the stream only drops such pushes."""
        with self._lock:
            channel.tally.refused += count
            self._note("refused", channel.name, count, math.nan, str(error))
        self._emit()
        if self._options.bad_frames == "error" or not is_soft:
            raise error

    def _unknown(self, modality: Any) -> UsageError:
        available = ", ".join(self._channels)
        return UsageError(f"This bundle has no modality {modality!r:.60}. Available: {available}.")

    def _make_room(self, channel: Channel) -> None:
        """Encode the oldest frames of a queue if nobody predicts, and drop those that are still too many."""
        if self._options.window is None and self._encoding_lock.acquire(blocking=False):
            try:
                self._encode_oldest(channel)
            except EdgeMsaError as error:
                LOGGER.warning("The queue of %s is full, and encoding failed: %s", channel.name, error)
            finally:
                self._encoding_lock.release()
        with self._lock:
            if self._options.window is not None:
                latest = self._latest if self._mode == _TIMED else channel.newest
                self._earliest_at = max(self._earliest_at, latest)
                self._discard(channel, latest - self._options.window)
            excess = channel.held - channel.capacity
            if excess > 0:
                first, last = channel.time_of(0), channel.time_of(excess - 1)
                items = channel.take(last)
                count = channel.count_valid(items)
                channel.tally.queued -= count
                channel.tally.overflow += count
                if count:
                    channel.lost_until, self._may_warn = max(channel.lost_until, last), True
                    message = f"{count} {channel.unit} of {channel.name} were dropped: {self._explain_overflow()}"
                    self._note("overflow", channel.name, count, first, message)

    def _explain_overflow(self) -> str:
        return (
            f"more than max_queue, {self._options.max_queue}, waited for a prediction. Predict more often, or create "
            "the stream with a larger max_queue"
        )

    # What follows needs the lock for encoding.

    def _encode_oldest(self, channel: Channel) -> None:
        """Encode the oldest half of a full queue, as far as no earlier frame can come."""
        with self._lock:
            excess = channel.held - self._options.max_queue // 2
            if excess <= 0:
                return
            limit = min(channel.final_limit(self._end), channel.time_of(excess - 1))
        self._encode(channel, limit, self._graphs, is_final=True)
        with self._lock:
            self._earliest_at = max(self._earliest_at, limit)

    def _discard(self, channel: Channel, limit: float, *, is_final: bool = False) -> bool:
        """Remove the frames up to a time that no earlier one can precede, or all of them if `is_final`.

        Return whether there were any.
        """
        items = channel.take(limit if is_final else channel.final_limit(limit))
        count = channel.count_valid(items)
        channel.tally.queued -= count
        channel.tally.encoded += count
        if items and isinstance(channel, FrameChannel):
            channel.tally.missing += channel.extend(
                channel.encoding, items, _NO_GRAPHS, self._note, timed=self._mode == _TIMED
            )
        return count > 0

    def _encode(self, channel: Channel, at: float, graphs: StepGraphs, *, is_final: bool) -> Encoding:
        """Encode the frames of a modality up to a time, and return the encoding for a prediction.

        Frames that an earlier one can still precede are encoded in a copy, unless `is_final`.
        """
        items, pending = self._take(channel, at, is_final=is_final)
        if items:
            notes: list[tuple[str, str, int, float, str]] = []
            try:
                missing = channel.extend(
                    channel.encoding, items, graphs, lambda *note: notes.append(note), timed=self._mode == _TIMED
                )
            except BaseException:
                with self._lock:
                    channel.give_back(items)
                raise
            channel.tally.missing += missing
            for note in notes:
                self._note(*note)
        encoding = channel.provisional(pending, graphs) if pending else channel.encoding
        if isinstance(channel, WordChannel):
            channel.finish(encoding, graphs)
        return encoding

    def _take(self, channel: Channel, at: float, *, is_final: bool) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return the items to encode for good, which leave the queue, and those to encode in a copy."""
        with self._lock:
            limit = at if is_final or self._mode == _UNTIMED else channel.final_limit(at)
            items = channel.take(limit)
            count = channel.count_valid(items)
            channel.tally.queued -= count
            channel.tally.encoded += count
            return items, channel.peek(at) if limit < at and channel.held else ()

    def _encode_later(self, channel: Channel, at: float, steps: DeferredSteps) -> Encoding:
        """Encode as `_encode` does, with steps that run later.

        If one of them fails then, the encoding and the queue return to what they were.
        """
        first, encoding = steps.count, channel.encoding
        saved = encoding.save()
        items: Sequence[Any] = ()
        missing = 0

        def undo() -> None:
            channel.revert(saved)
            channel.tally.missing -= missing
            if items:
                with self._lock:
                    channel.give_back(items)

        try:
            item = channel.encode_next(at, steps, self._lock)
            if item is not None:
                items = (item,)
                return encoding
            items, pending = self._take(channel, at, is_final=False)
            if items:
                missing = channel.extend(encoding, items, steps, self._note, timed=self._mode == _TIMED)
                channel.tally.missing += missing
            if pending:
                encoding = channel.provisional(pending, steps)
            if isinstance(channel, WordChannel):
                channel.finish(encoding, steps)
        except BaseException:
            if steps.count == first:
                undo()
            raise
        finally:
            steps.undo_with(undo, first)
        return encoding

    def _encode_window(self, channel: Channel, at: float, moment: float) -> Encoding:
        """Return an encoding whose state is the frames of a modality in the window before a moment."""
        with self._lock:
            start = moment - (self._options.window or 0.0) + SAME_SECONDS
            self._discard(channel, start)
            items = channel.peek(at, start)
            channel.cover(channel.count_held(items))
        encoding = Encoding()
        if items:
            channel.extend(encoding, items, _FRAMES, _ignore, timed=self._mode == _TIMED)
            if isinstance(channel, WordChannel):
                channel.finish(encoding, _FRAMES)
        return encoding

    def _moment(self, at: float | None) -> tuple[float, float]:
        """Return the time up to which frames count, and the moment of the prediction."""
        self._check_usable()
        if at is None:
            if self._mode == _UNTIMED:
                return math.inf, check_clock(self._clock())
            at = max(self._latest, self._earliest_at)
            if at == NEVER:
                raise self._nothing()
        else:
            at = check_time("at", at)
            if self._mode == _TIMED:
                self._check_jump(at)
        at = min(at, self._end)
        if at < self._earliest_at - SAME_SECONDS:
            raise UsageError(
                f"at must not go back: it must be at least {format_time(self._earliest_at)} s, got {format_time(at)}. "
                "Frames up to that time are encoded already. Predict in the order of time, before more than max_queue "
                "frames wait."
            )
        at = max(at, self._earliest_at)
        return at + SAME_SECONDS, at

    def _nothing(
        self, moment: float = math.inf, ages: Mapping[str, float] = MappingProxyType({})
    ) -> NothingToPredictError:
        """Return the error of a prediction that has nothing to predict from.

        Args:
            moment: of the prediction.
            ages: those of the modalities, which are all absent.
        """
        if ages:
            name = min(ages, key=lambda name: ages[name])
            limits = {"max_gap": self._options.max_gap[name], "max_age": self._options.max_age}
            option = min(limits, key=lambda option: limits[option])
            return NothingToPredictError(
                f"The stream has no valid frame from the last {limits[option]:g} s ({option}): its newest one is from "
                f"{ages[name]:.4g} s before. Push frames or words before calling predict()."
            )
        with self._lock:
            waiting = [channel.time_of(0) for channel in self._channels.values() if channel.held]
        if waiting and min(waiting) > moment:
            return NothingToPredictError(
                f"The stream has no valid frame up to {format_time(moment)} s, because its oldest one is from "
                f"{format_time(min(waiting))} s. Predict at a later time, on the clock of the timestamps."
            )
        span = "" if self._options.window is None else f" from the last {self._options.window:g} s"
        return NothingToPredictError(
            f"The stream has no valid frame{span}. Push frames or words before calling predict()."
        )

    def _predict(self, at: float | None, *, is_final: bool = False, lapse: float = 0.0) -> Prediction:
        started = time.perf_counter()
        graphs = self._graphs
        prepared = self._prepare(at, graphs, is_final=is_final, lapse=lapse)
        states = prepared.states
        outputs = graphs.run(Subset.of(states), states) if prepared.has_window else graphs.fuse(states)
        return self._finish(prepared, outputs, started, is_final=is_final)

    def _prepare(
        self, at: float | None, graphs: StepGraphs, *, is_final: bool = False, lapse: float = 0.0
    ) -> PreparedPrediction:
        """Encode what a prediction covers.

        Args:
            at: as in `predict`.
            graphs: the graphs.
            is_final: whether the utterance ends.
            lapse: seconds before the moment, in which no frames of the utterance are expected.
        """
        with self._lock:
            before = self._earliest_at
            if at is None and self._mode == _TIMED and self._latest > self._earliest_at:  # the usual case
                self._graphs.check_open()
                moment = min(self._latest, self._end)
                limit = moment + SAME_SECONDS
            else:
                limit, moment = self._moment(at)
            self._earliest_at = moment
        prepared = self._collect(limit, moment, graphs, is_final=is_final, lapse=lapse)
        if not prepared.states:
            if not is_final:
                self._go_back(before)
            raise self._nothing(moment, prepared.ages)
        return prepared

    def _go_back(self, before: float) -> None:
        """After a prediction that had nothing to predict from, allow earlier ones that the encoded frames allow."""
        with self._lock:
            window = self._options.window or 0.0
            encoded = [channel.encoding.newest + window for channel in self._channels.values()]
            self._earliest_at = min(self._earliest_at, max([before, *encoded]))

    def _finish(
        self, prepared: PreparedPrediction, outputs: Sequence[float], started: float, *, is_final: bool = False
    ) -> Prediction:
        """Return the prediction with the outputs of the last graph. `started` is from `time.perf_counter`."""
        states, ages, masked, arrived, _ = prepared
        graphs, shown, subset = self._graphs, self._shown, _SUBSETS[tuple(states)]
        conversation = self._conversation
        with_context = self._has_context and conversation.adjusts(subset)
        prediction = make_prediction(
            conversation.adjust(outputs, subset) if with_context else outputs,
            self._interpreter,
            subset=subset,
            backend=graphs.backend.name,
            device=graphs.device,
            precision=graphs.precision,
            latency_ms=(time.perf_counter() - started) * 1e3,
            warnings=self._warnings(states) if self._may_warn else (),
            counts={name: shown[name].frames for name in states} if self._interpreter.needs_counts else None,
            with_context=with_context,
            ages=ages,
            masked=masked,
            delay_ms=(self._clock() - arrived) * 1e3,
        )
        if is_final:
            conversation.add(outputs, subset)
        return prediction

    def _warnings(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the warnings of a prediction from some modalities."""
        shown = self._shown
        text = shown["language"].text if "language" in names else None
        lost = tuple(
            f"{channel.unit} of {channel.name} up to {format_time(channel.lost_until)} s were dropped: "
            + self._explain_overflow()
            for channel in self._incomplete
            if channel.name in names
        )
        far = range_warnings([name for name in names if shown[name].is_far])
        return far + (() if text is None else text.warnings) + lost

    def _collect(
        self, limit: float, moment: float, graphs: StepGraphs, *, is_final: bool, lapse: float
    ) -> PreparedPrediction:
        lock, is_deferred, oldest = self._lock, graphs is not self._graphs, self._oldest
        has_window = self._options.window is not None
        states: dict[str, Any] = {}
        ages: dict[str, float] = {}
        masked: dict[str, float] = {}
        shown: dict[str, Encoding] = {}
        newest_arrival = NEVER
        for name, channel in self._channels.items():
            if has_window:
                encoding = self._encode_window(channel, limit, moment)
            elif is_deferred:
                encoding = self._encode_later(channel, limit, cast("DeferredSteps", graphs))
            elif channel.encode_next(limit, graphs, lock) is not None:
                encoding = channel.encoding
            else:
                encoding = self._encode(channel, limit, graphs, is_final=is_final)
            newest = encoding.newest_valid
            if newest == NEVER:
                continue
            age = moment - newest if moment > newest else 0.0
            shown[name] = encoding
            ages[name] = age
            masked[name] = encoding.masked_share if encoding.masked else 0.0
            if (age > oldest[name] or channel.is_absent) and self._check_absent(channel, age, moment, lapse):
                continue
            if encoding.state is not None:
                states[name] = encoding.state
                if encoding.arrived > newest_arrival:  # noqa: PLR1730 - max is slower, and this is in every prediction
                    newest_arrival = encoding.arrived
        self._shown = shown
        if self._may_warn:
            since = moment - (self._options.window or math.inf)
            self._incomplete = [channel for channel in self._channels.values() if channel.lost_until > since]
        # The constructor of a named tuple takes twice as long.
        return _new_tuple(PreparedPrediction, (states, ages, masked, newest_arrival, has_window))

    def _end_utterance(self, at: float | None, voice: float = math.inf) -> Prediction | None:
        """End the utterance. Modalities are absent in its prediction if they were when the voice ended."""
        with self._lock:
            try:
                end, moment = self._moment(at)
            except NothingToPredictError:
                return None
            if self._mode == _UNTIMED:  # frames that other threads push from now on belong to the next utterance
                end = NEVER if self._options.window is None else moment
            before = [(channel, channel.start, channel.frontier) for channel in self._channels.values()]
            for channel in self._channels.values():
                channel.start = end
                channel.frontier = max(channel.frontier, end)
        try:
            prediction: Prediction | None = self._predict(
                at if self._mode == _UNTIMED else moment, is_final=True, lapse=max(0.0, moment - voice)
            )
        except NothingToPredictError:
            prediction = None
        except BaseException:
            with self._lock:
                for channel, start, frontier in before:
                    channel.start, channel.frontier = start, max(frontier, channel.newest)
            raise
        self._start_utterance(end, moment, "" if prediction is not None else " without a prediction: all were absent")
        return prediction

    def _start_utterance(self, end: float, moment: float, suffix: str) -> None:
        """Forget the utterance that has ended, and report its end with a suffix if it had frames."""
        shown = self._shown.get("language")
        if self._earlier.maxlen and shown is not None and shown.text is not None:
            self._earlier.append(shown.text.tokens)
        with self._lock:
            had_frames = any(channel.encoding.newest_valid > NEVER for channel in self._channels.values())
            for channel in self._channels.values():
                if self._options.window is not None:
                    had_frames |= self._discard(channel, end, is_final=True)
                channel.end_utterance(end)
            self._shown = {}
            self._end = math.inf
            if self._voice <= moment:
                self._voice = NEVER
            if had_frames:
                self._note("utterance", "", 0, moment, f"the utterance ended at {format_time(moment)} s{suffix}")

    def _skip_utterance(self, end: float, moment: float) -> None:
        """Start the next utterance without a prediction of the one before, as `_start_utterance` does."""
        with self._lock:
            for channel in self._channels.values():
                self._discard(channel, end if self._mode == _TIMED else math.inf, is_final=True)
            self._start_utterance(end, moment, "")

    def _predict_if_possible(self) -> Prediction | None:
        try:
            return self.predict()
        except NothingToPredictError:
            return None
        except UsageError:
            if self._is_closed():
                return None
            raise

    def _is_closed(self) -> bool:
        return self._mode == _CLOSED

    @property
    def _is_timed(self) -> bool:
        return self._mode == _TIMED

    def _check_absent(self, channel: Channel, age: float, moment: float, lapse: float) -> bool:
        """Return whether a modality is absent, and report it if it was not before, or is back.

        Its state remains: frames that arrive late can still precede those that are too old now.
        """
        max_gap, max_age = self._options.max_gap[channel.name] + SAME_SECONDS, self._options.max_age + SAME_SECONDS
        is_absent = age - lapse > max_age or (age - lapse > max_gap and moment - lapse - channel.bound > max_gap)
        if is_absent != channel.is_absent and not lapse:
            channel.is_absent = is_absent
            kind = "absent" if is_absent else "returned"
            message = f"{channel.name} is {'absent' if is_absent else 'back'}: its newest frame is {age:.4g} s old"
            self._note(kind, channel.name, 0, moment, message)
        return is_absent


class _FrameCollector:
    """Takes the place of graphs where the frames themselves are needed."""

    def step_one(self, name: str, frames: Frames, state: Any) -> Any:
        del name
        return frames if state is None else np.concatenate([state, frames])


class _NoGraphs:
    """Takes the place of graphs where only times count."""

    def step_one(self, name: str, frames: Frames, state: Any) -> None:
        """Do nothing."""


_FRAMES: Any = _FrameCollector()
_NO_GRAPHS: Any = _NoGraphs()


def _ignore(*_: Any) -> None:
    """Report nothing."""
