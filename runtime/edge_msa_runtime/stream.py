"""Streams: push frames and words as they arrive, and predict at any time."""

from __future__ import annotations

import dataclasses
import functools
import math
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, TypeVar, cast

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.inputs.validation import range_warnings
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.text.encoders import require_text_encoder
from edge_msa_runtime.text.stream_text import StreamText
from edge_msa_runtime.text.words import Word, parse_words

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from edge_msa_runtime.bundle.manifest import Manifest
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import InputValidator
    from edge_msa_runtime.programs import State
    from edge_msa_runtime.text.encoders import TextEncoder


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _exclusive(method: _Method) -> _Method:
    """Let only one thread at a time run such a method of a stream."""

    @functools.wraps(method)
    def run(self: Stream, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            return method(self, *arguments, **named)

    return cast("_Method", run)


@dataclasses.dataclass(frozen=True)
class StreamOptions:
    """Options of a stream; `Session.create_stream` describes them."""

    max_age: float | None
    truncate: str
    clock: Callable[[], float]


class Stream:
    """One utterance that arrives in chunks. Create one with `Session.create_stream`.

    A stream accumulates: every frame and word since its creation counts, however old. Call `reset` between utterances
    and `forget` when a sensor stops, or create the stream with a `max_age`.

    Each stream has its own state, so one session can serve many streams. Any number of threads may use a stream: a push
    or a prediction waits until the previous one has ended. You can split frames into any chunks, and a text between any
    words: the prediction equals that of `Session.predict` for the whole input. If the text encoder is not a table, each
    prediction after new words encodes all words again. The memory of a stream is bounded.
    """

    def __init__(
        self,
        graphs: Graphs,
        validator: InputValidator,
        text_encoder: TextEncoder | None,
        manifest: Manifest,
        options: StreamOptions,
    ) -> None:
        self._graphs = graphs
        self._validator = validator
        self._text_encoder = text_encoder
        self._modalities = tuple(manifest.modalities)
        self._task = manifest.task
        self._options = options
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._text: StreamText | None = None
        self._latest_start = -math.inf  # of the last word with times
        self._far: dict[str, None] = {}  # modalities with frames far out of the range seen in training
        self._pushed: dict[str, float] = {}  # when the last valid frame or word of a modality arrived

    def __repr__(self) -> str:
        """Return what a prediction would use, e.g. `<Stream with la, 12 words>`. It changes nothing."""
        with self._lock:
            names = set(self._states) | ({"language"} if self._text is not None and self._text.is_stale else set())
            old = self._old_modalities()
            names.difference_update(old)
            words = f", {self._text.total_words} words" if self._text is not None and "language" not in old else ""
            return f"<Stream with {Subset.of(names).value if names else 'no frames'}{words}>"

    @property
    @_exclusive
    def subset(self) -> str:
        """The modalities that a prediction would use, such as `la`: those with a valid frame that is not forgotten.

        It is empty if there is nothing to predict from.
        """
        self._forget_old()
        names = set(self._states)
        if self._text is not None and self._text.is_stale:
            names.add("language")  # the next prediction encodes the words
        return Subset.of(names).value if names else ""

    @property
    @_exclusive
    def words(self) -> tuple[Word, ...]:
        """The words that affect the prediction, with their times. Words beyond the maximum number of tokens do not.

        If the text encoder is not a table, new words appear after the next prediction.
        """
        self._forget_old()
        return self._text.words if self._text is not None else ()

    @_exclusive
    def push(
        self,
        *,
        text: str | Sequence[str] | None = None,
        times: ArrayLike | Sequence[tuple[float, float]] | None = None,
        language: ArrayLike | None = None,
        audio: ArrayLike | None = None,
        vision: ArrayLike | None = None,
        valid: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Add any number of frames or words.

        Use either `text` or `language` throughout a stream.

        Args:
            text: a string of whole words, or a list of words.
            times: (start, end) in seconds for each word of `text`. They are returned by `words` and do not affect the
                prediction.
            language: frames (T, d), as in `Session.predict`.
            audio: frames.
            vision: frames.
            valid: boolean masks (T,) by modality.

        Raises:
            UsageError: an input, a mask or a time is invalid, or the session is closed. The stream is unchanged.
            InferenceError: the backend failed. Reset the stream before using it again.
            BackendUnavailableError: the tokenizers library is not installed.
        """
        self._graphs.check_open()
        if text is None and times is not None:
            raise UsageError("times need text. Pass the words as text=.")
        if text is not None and language is not None:
            raise UsageError("Pass text or language, not both.")
        self._forget_old()
        has_words = self._text is not None and self._text.total_words > 0
        if language is not None and has_words:
            raise UsageError("This stream has text already. Continue with text=, or reset the stream to pass frames.")
        if text is not None and "language" in self._states and not has_words:
            raise UsageError(
                "This stream has language frames already. Continue with language=, or reset the stream to pass text."
            )
        words = [] if text is None else parse_words(text, times, self._latest_start)
        frames, far = self._validator.validate(language=language, audio=audio, vision=vision, valid=valid)
        if text is not None:
            encoder = require_text_encoder(self._text_encoder)
            self._text = self._text or StreamText(encoder, self._options.truncate)
            added = self._text.push(words)
            if added is not None:
                frames["language"] = added
            if words and words[-1].start is not None:
                self._latest_start = words[-1].start
        now = self._options.clock()
        self._pushed.update(dict.fromkeys([*frames, *(["language"] if words else [])], now))
        self._graphs.step(frames, self._states)
        self._far.update(dict.fromkeys(far))

    @_exclusive
    def predict(self) -> Prediction:
        """Predict from everything pushed so far. `latency_ms` is the time of this call, without the pushes.

        Raises:
            UsageError: no valid frame or word has been pushed, or the session is closed.
            InferenceError: the backend failed.
        """
        self._graphs.check_open()
        started = time.perf_counter()
        self._forget_old()
        if self._text is not None and self._text.is_stale:
            self._encode_all(self._text)
        if not self._states:
            age = "" if self._options.max_age is None else f" from the last {self._options.max_age:g} s"
            raise UsageError(f"The stream has no valid frame{age}. Push frames or words before calling predict().")
        subset = Subset.of(self._states).value
        graphs = self._graphs
        outputs = graphs.fuse(self._states)
        return make_prediction(
            outputs,
            self._task,
            subset=subset,
            backend=graphs.backend.name,
            device=graphs.device,
            precision=graphs.precision,
            latency_ms=(time.perf_counter() - started) * 1e3,
            warnings=range_warnings(self._far) + (self._text.warnings if self._text is not None else ()),
        )

    @_exclusive
    def forget(self, *modalities: str) -> None:
        """Remove the frames of some modalities, and all words for `language`. They are absent until the next push.

        Args:
            modalities: at least one of the bundle's modalities.

        Raises:
            UsageError: a modality is not in the bundle, none is passed, or the session is closed.
        """
        self._graphs.check_open()
        for name in modalities or ("",):
            if name not in self._modalities:
                raise UsageError(f"forget() needs names of {', '.join(self._modalities)}, got {name!r}.")
        for name in modalities:
            self._forget(name)

    @_exclusive
    def reset(self) -> None:
        """Remove all frames and words, as at the start of an utterance.

        Raises:
            UsageError: the session is closed.
        """
        self._graphs.check_open()
        for name in self._modalities:
            self._forget(name)

    def _encode_all(self, text: StreamText) -> None:
        """Replace the language state by that of all words. If this fails, the next prediction tries it again."""
        frames = text.encode_all()
        states: dict[str, State] = {}
        if len(frames):
            self._graphs.step({"language": frames}, states)
        self._states.pop("language", None)
        self._states.update(states)
        text.is_stale = False

    def _forget(self, name: str) -> None:
        self._states.pop(name, None)
        self._pushed.pop(name, None)
        self._far.pop(name, None)
        if name == "language":
            self._text, self._latest_start = None, -math.inf

    def _forget_old(self) -> None:
        """Forget the modalities whose last valid frame or word is older than `max_age`."""
        for name in self._old_modalities():
            self._forget(name)

    def _old_modalities(self) -> list[str]:
        max_age = self._options.max_age
        if max_age is None or not self._pushed:
            return []
        now = self._options.clock()
        return [name for name, pushed in self._pushed.items() if now - pushed > max_age]
