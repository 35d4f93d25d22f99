"""Sessions: a verified bundle on a backend, ready to predict."""

from __future__ import annotations

import operator
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Collection, Iterable, Mapping, Sequence

from edge_msa_runtime.bundle.loader import Bundle
from edge_msa_runtime.bundle.manifest import Manifest
from edge_msa_runtime.conformal import DEFAULT_COVERAGE, check_coverage
from edge_msa_runtime.errors import NothingToPredictError, UsageError
from edge_msa_runtime.graphs import Graphs
from edge_msa_runtime.inputs.validation import InputValidator, range_warnings
from edge_msa_runtime.interpretation import open_interpreter
from edge_msa_runtime.modalities import Subset, subsets_of
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.streams.many import predict_streams
from edge_msa_runtime.streams.options import parse_options
from edge_msa_runtime.streams.stream import Stream
from edge_msa_runtime.text.encoders import open_text_encoder, require_text_encoder
from edge_msa_runtime.text.tokenizer import check_truncate, truncation_warnings
from edge_msa_runtime.text.words import join_words

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edge_msa_runtime.inputs.validation import Frames
    from edge_msa_runtime.streams.events import StreamEvent
    from edge_msa_runtime.streams.options import PerModality, StreamOptions
    from edge_msa_runtime.text.tokenizer import TokenizedText


class Session:
    """Predicts sentiment from any non-empty subset of the bundle's modalities.

    Open one with `load`, and close it after use; a session is a context manager. You can use a session and its streams
    from any number of threads. At most `workers` predictions run on one graph at the same time; others wait.
    Predictions of different subsets use different graphs and are not limited together.

    Attributes:
        bundle: the verified bundle.
        backend: name of the backend.
        backend_version: version of the backend's library.
        precision: `fp32`, `fp16`, `int8` or `int4`.
        threads: CPU threads for one prediction.
        workers: predictions that run on one graph at the same time.
        coverage: share of `Prediction.interval`, or of `Prediction.prediction_set`, that contain the label.
    """

    def __init__(
        self,
        bundle: Bundle,
        graphs: Graphs,
        fallbacks: tuple[str, ...] = (),
        *,
        coverage: float = DEFAULT_COVERAGE,
        abstain: bool = False,
    ) -> None:
        self.bundle = bundle
        self.backend = graphs.backend.name
        self.backend_version = graphs.backend.version
        self.precision = graphs.precision
        self.threads = graphs.backend.options.threads
        self.workers = graphs.backend.options.workers
        self._fallbacks = fallbacks
        self._graphs = graphs
        specs = bundle.manifest.modalities
        self._validator = InputValidator(
            {name: spec.dim for name, spec in specs.items()},
            {name: spec.max_norm for name, spec in specs.items() if spec.max_norm is not None},
            {name: spec.gap_frame for name, spec in specs.items() if spec.gap_frame is not None},
        )
        self._text_encoder = open_text_encoder(bundle, graphs)
        self.coverage = check_coverage(coverage)
        self._interpreter = open_interpreter(
            bundle.manifest, self.backend, self.precision, self.coverage, abstain=abstain
        )

    def __repr__(self) -> str:
        """Return what the session runs, e.g. `<Session bundle-laptop: openvino int8 on CPU, lav>`."""
        name = self.manifest.name
        state = ", closed" if self._graphs.is_closed else ""
        inputs = Subset.of(self.manifest.modalities).value + (" or text" if self._text_encoder is not None else "")
        device = f" on {self.device}" if self.device else ""
        return f"<Session {name}: {self.backend} {self.precision}{device}, {inputs}{state}>"

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def members(self) -> tuple[Session, ...]:
        """The sessions of the members of a cascade; of a bundle, this session only."""
        return (self,)

    @property
    def has_intervals(self) -> bool:
        """Whether predictions have intervals, if the calibration data support the coverage."""
        return self.manifest.intervals is not None

    @property
    def graphs(self) -> Graphs:
        """The graphs that predict."""
        return self._graphs

    @property
    def device(self) -> str:
        """The device that the graphs run on; the requested device until the first graph is loaded."""
        return self._graphs.device

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """What could not be used so far and what is used instead: a backend, a device, a CUDA graph.

        The logger `edge_msa_runtime` warns of each when it happens.
        """
        return self._fallbacks + self._graphs.fallbacks

    @property
    def load_ms(self) -> float:
        """Milliseconds spent so far on verifying the bundle, opening the backend and loading graphs."""
        return self._graphs.load_ms

    def predict(
        self,
        *,
        text: str | Sequence[str] | None = None,
        language: ArrayLike | None = None,
        audio: ArrayLike | None = None,
        vision: ArrayLike | None = None,
        valid: Mapping[str, ArrayLike] | None = None,
        truncate: str = "end",
        context: Sequence[str | Sequence[str]] = (),
    ) -> Prediction:
        """Predict the sentiment of one utterance.

        Pass at least one modality, and language either as `text` or as `language`. The first prediction of a subset
        loads its graph; call `prepare` to load it earlier.

        Args:
            text: a string or a list of words, if the bundle accepts text. A text without tokens counts as absent.
            language: frames (T, d): finite real numbers within 1e30, not normalized. A modality that is None, or has
                no valid frame, is absent. Values outside the range seen in training are clipped; the prediction has a
                warning if they are far outside (`inputs.validation.MAX_NORM_RATIO`).
            audio: frames. T may differ between modalities, and may exceed the window of the bundle: the step graphs
                then process all frames, as a stream does.
            vision: frames.
            valid: boolean masks (T,) by modality. The values of masked frames do not affect the prediction, but a
                student with gap frames sees where some are missing between others.
            truncate: what to do with a text of more tokens than the bundle takes. `end` drops its end and `start` its
                beginning; a warning of the prediction counts the tokens. `window` drops nothing: it splits the text
                into parts, predicts each with all other frames, and averages the outputs, weighted by tokens.
            context: the texts of earlier utterances of the conversation, the newest last, if the text encoder was
                trained to read them (`manifest.language.context`). It reads the newest ones, as far as the text leaves
                room in `max_tokens`. Empty at the start of a conversation.

        Raises:
            UsageError: an input or a mask does not fit the bundle; both `text` and `language` are passed; no modality
                has a valid frame or word; `truncate` is unknown; `text` or another `truncate` than `end` is passed, but
                the bundle does not accept text; `context` is passed, but there is no text or the text encoder does not
                read it; or the session is closed.
            InferenceError: the backend failed.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        return self._predict(text, language, audio, vision, valid, truncate, context)[0]

    def _predict(
        self,
        text: str | Sequence[str] | None,
        language: ArrayLike | None,
        audio: ArrayLike | None,
        vision: ArrayLike | None,
        valid: Mapping[str, ArrayLike] | None,
        truncate: str,
        context: Sequence[str | Sequence[str]],
    ) -> tuple[Prediction, Mapping[str, int] | None]:
        """Return the prediction, and the number of valid frames by modality; None if the bundle has no intervals."""
        self._graphs.check_open()
        started = time.perf_counter()
        frames, far, gaps = self._validator.validate(language=language, audio=audio, vision=vision, valid=valid)
        if truncate != "end":
            self._check_truncate(truncate)
        tokens = None
        if text is not None:
            if language is not None:
                raise UsageError("Pass text or language, not both.")
            tokens = require_text_encoder(self._text_encoder).tokenizer.tokenize(join_words(text), truncate)
        earlier = self._earlier_tokens(context, text) if context else ()
        if not frames and (tokens is None or not tokens.parts):
            raise NothingToPredictError(
                "No modality has a valid frame, and text has no tokens. Pass a text with words, or frames."
                if text is not None
                else f"{_describe_absence(language=language, audio=audio, vision=vision)}. Pass at least one of "
                f"{', '.join(self.manifest.modalities)}."
            )
        names: Collection[str] = frames if tokens is None or not tokens.parts else {*frames, "language"}
        subset = Subset.of(names)
        outputs = (
            self._graphs.run(subset, frames) if tokens is None else self._run_parts(subset, frames, tokens, earlier)
        )
        warnings = range_warnings(far) if far else ()
        if tokens is not None:
            warnings += self._truncation_warnings(tokens, truncate)
        counts = None
        if self._interpreter.needs_counts:
            counts = {name: len(rows) for name, rows in frames.items()}
            for name, count in gaps.items():  # they say nothing
                counts[name] -= count
            if tokens is not None:
                counts["language"] = tokens.used + tokens.special
        prediction = make_prediction(
            outputs,
            self._interpreter,
            subset=subset.value,
            backend=self.backend,
            device=self._graphs.device,
            precision=self.precision,
            latency_ms=(time.perf_counter() - started) * 1e3,
            warnings=warnings,
            counts=counts,
        )
        return prediction, counts

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, also of those that a prediction would drop.

        A prediction uses at most `manifest.language.max_tokens` of them, each as one language frame. Special tokens of
        an encoder count.

        Raises:
            UsageError: the bundle does not accept text, the text is not valid Unicode, or the session is closed.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        self._graphs.check_open()
        tokens = require_text_encoder(self._text_encoder).tokenizer.tokenize(text)
        return tokens.total + tokens.special if tokens.total else 0

    def create_stream(
        self,
        *,
        lateness: PerModality = 0.0,
        max_gap: PerModality = None,
        max_age: float | None = None,
        bad_frames: str = "error",
        late_frames: str = "drop",
        max_queue: int = 4096,
        max_jump: float = 3600.0,
        window: float | None = None,
        pause: float = 0.6,
        context: bool = True,
        truncate: str = "end",
        on_event: Callable[[StreamEvent], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> Stream:
        """Return a new, empty stream.

        Seconds are positive. Times of events are those that are passed as timestamps, or of `clock` when frames arrive.

        Args:
            lateness: seconds that a frame may come after a newer one of its modality: one number, or numbers by
                modality. Frames that come later are dropped. It needs timestamps.
            max_gap: seconds without a valid frame after which a modality is absent: predictions go on without it, and
                it comes back with its next frame. One number, or numbers by modality; None: never.
            max_age: seconds without a valid frame, or word, after which a modality is absent. When its next one comes,
                what was before is forgotten. None: never.
            bad_frames: what to do with a push that has bad values, a wrong width or type, or a bad timestamp: `error`
                raises a UsageError, `drop` only counts and reports it. `mask` masks the frames with bad values, and
                drops the other pushes.
            late_frames: what to do with frames that are late or come again: `drop` counts and reports them, `error`
                refuses the push with a UsageError.
            max_queue: frames, or words, of a modality that can wait for a prediction. Those that one has covered, and
                that a window needs again, do not count.
            max_jump: seconds by which the times of a push may exceed the newest time of the stream.
            window: seconds before the moment of a prediction that it covers, for input without utterances. None: the
                whole utterance.
            pause: seconds without voice after which `voice_activity` ends the utterance.
            context: whether earlier utterances count, if the bundle uses them: its conversation memory, and the texts
                that its text encoder reads.
            truncate: which tokens of a text to use if it has more than the bundle takes: `end` drops the words that
                arrive then, `start` and `window` drop the oldest words.
            on_event: called with each `StreamEvent`, in the thread that caused it. An exception in it is logged.
            clock: returns the time in seconds; it must not go backwards. It is called once to check it.

        Raises:
            UsageError: an option is invalid, the bundle does not accept text but `truncate` is passed, or the session
                is closed.
        """
        self._graphs.check_open()
        self._check_truncate(truncate)
        options = parse_options(
            tuple(self.manifest.modalities),
            lateness=lateness,
            max_gap=max_gap,
            max_age=max_age,
            bad_frames=bad_frames,
            late_frames=late_frames,
            max_queue=max_queue,
            max_jump=max_jump,
            window=window,
            pause=pause,
            context=context,
            truncate=truncate,
            on_event=on_event,
            clock=clock,
        )
        return self._open_stream(options)

    def _open_stream(self, options: StreamOptions) -> Stream:
        return Stream(self._graphs, self._validator, self._text_encoder, self.manifest, options, self._interpreter)

    def predict_many(
        self, streams: Sequence[Stream], at: float | None = None, *, return_errors: bool = False
    ) -> list[Prediction | Exception | None]:
        """Predict from several streams at once. This is faster than one call of `Stream.predict` after the other.

        On ONNX Runtime and on OpenVINO for a CPU, graphs run for eight streams at once. If fewer than four streams have
        new frames of a modality, and always on other backends and for streams with a `window`, they run one by one. The
        first call with several streams loads these graphs; call `prepare` to load them earlier.

        Args:
            streams: different streams of this session. Other threads may use them at the same time.
            at: as in `Stream.predict`, for all streams. None: the newest event time of each stream.
            return_errors: whether to return an error in place of a prediction instead of raising it.

        Returns:
            The prediction of each stream, in their order, or None if it has nothing to predict from. A prediction
            equals that of `Stream.predict` up to rounding. Its `latency_ms` is the time of this call until then.

        Raises:
            UsageError: `streams` contains anything but different streams of this session, or the session is closed.
            EdgeMsaError: the first error of a stream, as for `Stream.predict`, after all others have been predicted. No
                frame is lost: you may predict again.
        """
        self._graphs.check_open()
        if isinstance(streams, (str, bytes)) or not isinstance(streams, Iterable):
            raise UsageError(f"streams must be a list of streams, got {streams!r:.60}.")
        chosen = list(streams)
        for number, stream in enumerate(chosen):
            if not isinstance(stream, Stream) or not stream.belongs_to(self._graphs):
                raise UsageError(f"streams[{number}] must be a stream of this session, got {stream!r:.60}.")
        if len({id(stream) for stream in chosen}) < len(chosen):
            raise UsageError("streams must be different, but one of them is there twice. Pass each stream once.")
        results = predict_streams(self._graphs, chosen, at)
        if not return_errors:
            for result in results:
                if isinstance(result, Exception):
                    raise result
        return results

    def prepare(self, *subsets: Subset | str, streams: int = 1) -> None:
        """Load the graphs of these subsets and run each once, so that their first prediction is as fast as the others.

        Args:
            subsets: subsets, or their names such as `la` (in any order); none for every subset of the bundle's
                modalities.
            streams: largest number of streams that you pass to `predict_many`.

        Raises:
            UsageError: `streams` is less than 1, a subset does not exist, the bundle lacks one of its modalities, or
                the session is closed.
        """
        self._graphs.check_open()
        if not isinstance(streams, int) or isinstance(streams, bool) or streams < 1:
            raise UsageError(f"streams must be a whole number of at least 1, got {streams!r}.")
        for name in subsets or subsets_of(self.manifest.modalities):
            try:
                subset = Subset("".join(sorted(name, key="lav".find)) if isinstance(name, str) else name)
            except ValueError:
                raise UsageError(f"Unknown subset {name!r}. Available: {', '.join(s.value for s in Subset)}.") from None
            for modality in subset.modalities:
                if modality not in self.manifest.modalities:
                    available = ", ".join(self.manifest.modalities)
                    raise UsageError(f"This bundle has no modality {modality}. Available: {available}.")
            self._graphs.prepare(subset, streams)

    def _earlier_tokens(self, context: Any, text: Any) -> list[list[int]]:
        """Return the tokens of the earlier utterances that the text encoder reads."""
        if isinstance(context, str) or not isinstance(context, Sequence):
            raise UsageError(f"context must be a list of texts, the newest last, got {context!r:.60}.")
        if text is None:
            raise UsageError("context needs the text of the current utterance. Pass text, or omit context.")
        encoder = require_text_encoder(self._text_encoder)
        if not encoder.context:
            raise UsageError(
                "The text encoder of this bundle does not read earlier utterances. Omit context, or train it with "
                "`edge-msa text train --context`."
            )
        tokens = [encoder.tokenizer.word_ids(join_words(item)) for item in context]
        return [item for item in tokens if item][-encoder.context :]

    def _run_parts(
        self,
        subset: Subset,
        frames: Mapping[str, Frames],
        tokens: TokenizedText,
        earlier: Sequence[Sequence[int]],
    ) -> Sequence[float]:
        """Return the outputs for frames with a text: the average over its parts, weighted by tokens."""
        if not tokens.parts:
            return self._graphs.run(subset, frames)
        encoder = require_text_encoder(self._text_encoder)
        if len(tokens.parts) == 1:
            language = encoder.encode_ids(tokens.parts[0], earlier)
            return self._graphs.run(subset, {**frames, "language": language})
        results = [self._graphs.run(subset, {**frames, "language": encoder.encode_ids(part)}) for part in tokens.parts]
        return [sum(map(operator.mul, values, tokens.counts)) / tokens.total for values in zip(*results)]

    def _check_truncate(self, truncate: str) -> None:
        check_truncate(truncate)
        if truncate != "end":
            require_text_encoder(self._text_encoder)

    def _truncation_warnings(self, tokens: TokenizedText, truncate: str) -> tuple[str, ...]:
        max_tokens = require_text_encoder(self._text_encoder).max_tokens
        return truncation_warnings(tokens.total, tokens.used, max_tokens, truncate)

    def close(self) -> None:
        """Release the loaded graphs. Later predictions raise a UsageError; closing again does nothing.

        Predictions that other threads have started end normally and release the graphs that they use.
        """
        self._graphs.close()

    def __enter__(self) -> Session:  # noqa: PYI034 - typing.Self needs Python 3.11
        self._graphs.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _describe_absence(**inputs: ArrayLike | None) -> str:
    """Say why there is nothing to predict from: the inputs that were passed have no frame, or only masked ones."""
    passed = [name for name, frames in inputs.items() if frames is not None]
    return "No modality has a valid frame" + (f": 0 frames in {', '.join(passed)}" if passed else "")
