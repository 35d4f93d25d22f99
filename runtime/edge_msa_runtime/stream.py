"""A stream: frames and words as they come, and a prediction whenever it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.prediction import Prediction, make_prediction
from edge_msa_runtime.text.words import Word, is_text, words_of

if TYPE_CHECKING:
    from edge_msa_runtime.bundle.manifest import TaskSpec
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.inputs.validation import InputValidator, Rows
    from edge_msa_runtime.programs import State
    from edge_msa_runtime.text.encoders import TextEncoder


class Stream:
    """One utterance as it unfolds; made by `Session.stream`.

    The state is the stream's own, so that a session can serve many streams, one thread at a time. Any chunking of the
    same frames gives the same prediction, and the one that `Session.predict` gives for all of them; so does any chunking
    of a text between its words. Where an encoder reads the text, all words so far are encoded again at each prediction.
    """

    def __init__(self, graphs: Graphs, validator: InputValidator, task: TaskSpec) -> None:
        self._graphs = graphs
        self._validator = validator
        self._task = task
        self._states: dict[str, State] = {}
        self._attended: list[Word] = []
        self._read = 0  # how many of the words attended the prediction has seen
        self._tokens = 0
        self._stale = False  # words have come that the encoder has not read

    @property
    def subset(self) -> str:
        """The modalities that have had a valid frame, as in `la`; words that an encoder reads count at a prediction."""
        return Subset.of(self._states).value if self._states else ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that the prediction has seen, with their times; beyond the bundle's tokens none is seen any more."""
        return tuple(self._attended[: self._read])

    def push(
        self,
        *,
        language: Any = None,
        audio: Any = None,
        vision: Any = None,
        valid: Mapping[str, Any] | None = None,
        times: Any = None,
    ) -> None:
        """Take frames or words; arguments as `Session.predict` takes them, any number of frames or words, also none.

        Args:
            language: frames, a text of whole words, or a list of words; of one kind throughout a stream.
            audio: frames.
            vision: frames.
            valid: masks of the frames.
            times: (start, end) in seconds of each word; they are kept for `words` and leave the prediction alone.

        Raises:
            UsageError: an array, a mask or a time does not fit; nothing of this push has been taken then.
            InferenceError: the backend failed; `reset` the stream.
        """
        if isinstance(language, (list, tuple)) and not language and self._validator.text is not None:
            language, times = "", times or None  # nothing was attended
        if not is_text(language):
            if times is not None:
                raise UsageError("times were given without words; give language='...' with them")
            if language is not None and self._attended:
                raise UsageError("language came as words before, these are frames; keep to one, or reset the stream")
            self._graphs.step(self._validator.gather((language, audio, vision), valid), self._states)
            return
        text_encoder = self._validator.words()
        if "language" in self._states and not self._attended:
            raise UsageError("language came as frames before, these are words; keep to one, or reset the stream")
        words = words_of(language, times, self._attended)
        rows = self._validator.gather((None, audio, vision), valid)
        if text_encoder.incremental:
            self._take_words(text_encoder, words, rows)
        else:
            for word in words:
                text_encoder.tokenizer.ids(word.text)  # refuses what is no Unicode before anything is taken
            self._attended += words
            self._stale = self._stale or bool(words)
        self._graphs.step(rows, self._states)

    def predict(self) -> Prediction:
        """The prediction of all so far; its milliseconds are those of this call, without the pushes.

        Raises:
            UsageError: no valid frame has come yet.
            InferenceError: the backend failed.
        """
        started = time.perf_counter()
        if self._stale:
            self._encode_words()
        if not self._states:
            raise UsageError("the stream has had no valid frame yet; push some before asking for a prediction")
        outputs = self._graphs.fuse(self._states)
        graphs = self._graphs
        return make_prediction(
            outputs,
            self._task,
            subset=self.subset,
            executed=(graphs.backend.name, graphs.device, graphs.precision),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )

    def reset(self) -> None:
        """Forget all frames and words."""
        self._states.clear()
        self._attended.clear()
        self._read = self._tokens = 0
        self._stale = False

    def _take_words(self, text_encoder: TextEncoder, words: list[Word], rows: dict[str, Rows]) -> None:
        """Add the rows of the tokens that there is still room for."""
        ids: list[int] = []
        read = 0
        for word in words:
            room = text_encoder.max_tokens - self._tokens - len(ids)
            if room <= 0:
                break
            ids += text_encoder.tokenizer.ids(word.text)[:room]
            read += 1
        if ids:
            rows["language"] = text_encoder.rows(ids)
        self._tokens += len(ids)
        if self._read == len(self._attended):
            self._read += read
        self._attended += words

    def _encode_words(self) -> None:
        text_encoder = self._validator.words()
        ids, reach = text_encoder.tokenizer.ids_and_reach(" ".join(word.text for word in self._attended))
        self._states.pop("language", None)
        if ids:
            self._graphs.step({"language": text_encoder.rows(ids)}, self._states)
        position, self._read = 0, 0
        for word in self._attended:
            self._read += position < reach
            position += len(word.text) + 1
        self._stale = False
