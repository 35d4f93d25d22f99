"""Streams: push frames and words as they arrive, and predict at any time."""

from __future__ import annotations

import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence, TypeVar, cast

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.programs import clip_warnings
from edge_msa_runtime.text.encoders import require_text_encoder
from edge_msa_runtime.text.words import Word, parse_words

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import TaskSpec
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import Frames, InputValidator
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


class Stream:
    """One utterance that arrives in chunks. Create one with `Session.create_stream`.

    Each stream has its own state, so one session can serve many streams. Any number of threads may use a stream: a push
    or a prediction waits until the previous one has ended. You can split frames into any chunks, and a text between any
    words: the prediction equals that of `Session.predict` for the whole input. If the text encoder is not a table, each
    prediction after new words encodes all words again.
    """

    def __init__(
        self, graphs: Graphs, validator: InputValidator, text_encoder: TextEncoder | None, task: TaskSpec
    ) -> None:
        self._graphs = graphs
        self._validator = validator
        self._text_encoder = text_encoder
        self._task = task
        self._lock = threading.RLock()
        self._states: dict[str, State] = {}
        self._words: list[Word] = []
        self._encoded_words = 0  # number of words, from the first one, that are in the state
        self._token_count = 0
        self._has_new_words = False  # words that a graph has not encoded yet

    @property
    @_exclusive
    def subset(self) -> str:
        """The modalities that have had a valid frame, such as `la`.

        If the text encoder is not a table, new words count after the next prediction.
        """
        return Subset.of(self._states).value if self._states else ""

    @property
    @_exclusive
    def words(self) -> tuple[Word, ...]:
        """The words that affect the prediction, with their times. Words beyond the maximum number of tokens do not.

        If the text encoder is not a table, new words appear after the next prediction.
        """
        return tuple(self._words[: self._encoded_words])

    @_exclusive
    def push(
        self,
        *,
        text: str | Sequence[str] | None = None,
        times: Any = None,
        language: Any = None,
        audio: Any = None,
        vision: Any = None,
        valid: Mapping[str, Any] | None = None,
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
        if language is not None and self._words:
            raise UsageError("This stream has text already. Continue with text=, or reset the stream to pass frames.")
        if text is not None and "language" in self._states and not self._words:
            raise UsageError(
                "This stream has language frames already. Continue with language=, or reset the stream to pass text."
            )
        words = [] if text is None else parse_words(text, times, self._words)
        frames = self._validator.validate(language=language, audio=audio, vision=vision, valid=valid)
        if text is not None:
            self._push_words(require_text_encoder(self._text_encoder), words, frames)
        self._graphs.step(frames, self._states)

    @_exclusive
    def predict(self) -> Prediction:
        """Predict from everything pushed so far. `latency_ms` is the time of this call, without the pushes.

        Raises:
            UsageError: no valid frame or word has been pushed, or the session is closed.
            InferenceError: the backend failed.
        """
        self._graphs.check_open()
        started = time.perf_counter()
        if self._has_new_words:
            self._encode_all_words()
        if not self._states:
            raise UsageError("The stream has no valid frame yet. Push frames or words before calling predict().")
        graphs = self._graphs
        outputs = graphs.fuse(self._states)
        return make_prediction(
            outputs,
            self._task,
            subset=self.subset,
            backend=graphs.backend.name,
            device=graphs.device,
            precision=graphs.precision,
            latency_ms=(time.perf_counter() - started) * 1e3,
            warnings=clip_warnings(self._states),
        )

    @_exclusive
    def reset(self) -> None:
        """Remove all frames and words.

        Raises:
            UsageError: the session is closed.
        """
        self._graphs.check_open()
        self._states.clear()
        self._words.clear()
        self._encoded_words = self._token_count = 0
        self._has_new_words = False

    def _push_words(self, text_encoder: TextEncoder, words: list[Word], frames: dict[str, Frames]) -> None:
        """Store words, and add their frames to `frames` if words are encoded one by one."""
        if text_encoder.incremental:
            self._encode_new_words(text_encoder, words, frames)
        else:
            for word in words:
                text_encoder.tokenizer.ids(word.text)  # raises for invalid Unicode before the stream changes
            self._has_new_words = self._has_new_words or bool(words)
        self._words += words

    def _encode_new_words(self, text_encoder: TextEncoder, words: list[Word], frames: dict[str, Frames]) -> None:
        """Add the frames of the tokens that do not exceed the maximum."""
        ids: list[int] = []
        encoded = 0
        for word in words:
            free = text_encoder.max_tokens - self._token_count - len(ids)
            if free <= 0:
                break
            ids += text_encoder.tokenizer.ids(word.text)[:free]
            encoded += 1
        if ids:
            frames["language"] = text_encoder.encode_ids(ids)
        self._token_count += len(ids)
        if self._encoded_words == len(self._words):
            self._encoded_words += encoded

    def _encode_all_words(self) -> None:
        """Replace the language state by the state after all words so far."""
        text_encoder = require_text_encoder(self._text_encoder)
        ids, end = text_encoder.tokenizer.ids_and_end(" ".join(word.text for word in self._words))
        self._states.pop("language", None)
        if ids:
            self._graphs.step({"language": text_encoder.encode_ids(ids)}, self._states)
        position, self._encoded_words = 0, 0
        for word in self._words:
            self._encoded_words += position < end
            position += len(word.text) + 1
        self._has_new_words = False
