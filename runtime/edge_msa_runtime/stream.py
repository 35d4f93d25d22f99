"""A stream: frames and words as they come, and a reading whenever it is asked for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.reading import Reading, make_reading
from edge_msa_runtime.words import Word, are_words, words_of

if TYPE_CHECKING:
    from edge_msa_runtime.frames import Intake, Rows
    from edge_msa_runtime.graphs import Graphs
    from edge_msa_runtime.manifest import TaskSpec
    from edge_msa_runtime.programs import State
    from edge_msa_runtime.text import TextFront


class Stream:
    """One utterance as it unfolds; made by `Session.stream`.

    The state is the stream's own, so that a session can serve many streams, one thread at a time. Any chunking of the
    same frames gives the same reading, and the one that `Session.predict` gives for all of them; so does any chunking
    of a text between its words. Where an encoder reads the text, all words so far are encoded again at each reading.
    """

    def __init__(self, graphs: Graphs, intake: Intake, task: TaskSpec) -> None:
        self._graphs = graphs
        self._intake = intake
        self._task = task
        self._states: dict[str, State] = {}
        self._heard: list[Word] = []
        self._read = 0  # how many of the words heard the reading has seen
        self._tokens = 0
        self._stale = False  # words have come that the encoder has not read

    @property
    def subset(self) -> str:
        """The modalities that have had a valid frame, as in `la`; words that an encoder reads count at a reading."""
        return "".join(name[0] for name in ("language", "audio", "vision") if name in self._states)

    @property
    def words(self) -> tuple[Word, ...]:
        """The words that the reading has seen, with their times; beyond the bundle's tokens none is seen any more."""
        return tuple(self._heard[: self._read])

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
            times: (start, end) in seconds of each word; they are kept for `words` and leave the reading alone.

        Raises:
            UsageError: an array, a mask or a time does not fit; nothing of this push has been taken then.
            RuntimeFailure: the engine failed; `reset` the stream.
        """
        if isinstance(language, (list, tuple)) and not language and self._intake.text is not None:
            language, times = "", times or None  # nothing was heard
        if not are_words(language):
            if times is not None:
                raise UsageError("times were given without words; give language='...' with them")
            if language is not None and self._heard:
                raise UsageError("language came as words before, these are frames; keep to one, or reset the stream")
            self._graphs.advance(self._intake.gather((language, audio, vision), valid), self._states)
            return
        front = self._intake.words()
        if "language" in self._states and not self._heard:
            raise UsageError("language came as frames before, these are words; keep to one, or reset the stream")
        words = words_of(language, times, self._heard)
        rows = self._intake.gather((None, audio, vision), valid)
        if front.incremental:
            self._take_words(front, words, rows)
        else:
            for word in words:
                front.tokenizer.ids(word.text)  # refuses what is no Unicode before anything is taken
            self._heard += words
            self._stale = self._stale or bool(words)
        self._graphs.advance(rows, self._states)

    def reading(self) -> Reading:
        """The reading of all so far; its milliseconds are those of this call, without the pushes.

        Raises:
            UsageError: no valid frame has come yet.
            RuntimeFailure: the engine failed.
        """
        started = time.perf_counter()
        if self._stale:
            self._encode_words()
        if not self._states:
            raise UsageError("the stream has had no valid frame yet; push some before asking for a reading")
        outputs = self._graphs.fuse(self._states)
        graphs = self._graphs
        return make_reading(
            outputs,
            self._task,
            subset=self.subset,
            executed=(graphs.engine.name, graphs.device, graphs.precision),
            milliseconds=(time.perf_counter() - started) * 1e3,
        )

    def reset(self) -> None:
        """Forget all frames and words."""
        self._states.clear()
        self._heard.clear()
        self._read = self._tokens = 0
        self._stale = False

    def _take_words(self, front: TextFront, words: list[Word], rows: dict[str, Rows]) -> None:
        """Add the rows of the tokens that there is still room for."""
        ids: list[int] = []
        read = 0
        for word in words:
            room = front.max_tokens - self._tokens - len(ids)
            if room <= 0:
                break
            ids += front.tokenizer.ids(word.text)[:room]
            read += 1
        if ids:
            rows["language"] = front.rows(ids)
        self._tokens += len(ids)
        if self._read == len(self._heard):
            self._read += read
        self._heard += words

    def _encode_words(self) -> None:
        front = self._intake.words()
        ids, reach = front.tokenizer.ids_and_reach(" ".join(word.text for word in self._heard))
        self._states.pop("language", None)
        if ids:
            self._graphs.advance({"language": front.rows(ids)}, self._states)
        position, self._read = 0, 0
        for word in self._heard:
            self._read += position < reach
            position += len(word.text) + 1
        self._stale = False
