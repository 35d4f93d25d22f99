"""Speech recognizers: sound in, words with times out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Protocol

from edge_msa_runtime.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_msa_runtime.media.signals import Sound
    from edge_msa_runtime.text.words import Word

WHISPER = "whisper:"
"""Prefix of the name of a Whisper model."""


class Listener(Protocol):
    """Recognizes words while somebody speaks.

    Every word is returned once, with times in seconds since the start of the recording. Times never decrease. A word
    that was returned does not change.
    """

    @property
    def until(self) -> float:
        """Time in seconds before which no further word ends."""

    def push(self, sound: Sound) -> list[Word]:
        """Return the words that became final with this sound.

        A call recognizes at most once. A program that is late must therefore join the waiting sounds to one, and
        catches up.
        """

    def pause(self) -> list[Word]:
        """Return the remaining words of an utterance, if the program knows that it ended."""

    def finish(self) -> list[Word]:
        """Return the remaining words at the end of the recording, and start again for another one."""


class Recognizer(Protocol):
    """Recognizes words."""

    @property
    def name(self) -> str:
        """Name of the model, such as `whisper:tiny.en`."""

    @property
    def version(self) -> str:
        """Versions of program and model. With the same version, the same sound gives the same words."""

    def transcribe(self, samples: NDArray[np.float32], *, check: Callable[[], object] | None = None) -> list[Word]:
        """Return the words of a whole recording.

        Args:
            samples: (n,) float32 from -1 to 1 at 16 kHz.
            check: called after each window of at most 30 s. It raises an exception if nobody wants the words any more.

        Returns:
            The words with times in seconds since the first sample. The same sound gives the same words.
        """

    def listen(self) -> Listener:
        """Return a listener for a recording that is still going on. Listeners of one recognizer share its model."""


def open_recognizer(name: str, *, language: str = "en", threads: int = 1) -> Recognizer:
    """Load a speech recognizer. Nothing is downloaded.

    Args:
        name: `whisper:FOLDER` for a Whisper model that was converted for CTranslate2, or `whisper:NAME` for one that is
            in the cache of the Hugging Face Hub, such as `whisper:tiny.en` or `whisper:Systran/faster-whisper-base`.
        language: code of the language of the speech. Models whose name ends in `.en` know English only.
        threads: CPU threads.

    Raises:
        UsageError: there is no such recognizer, model or language.
        PackageImportError: faster-whisper is not installed.
    """
    if threads < 1:
        raise UsageError(f"threads must be 1 or more, got {threads}.")
    if not name.startswith(WHISPER) or name == WHISPER:
        raise UsageError(f"The recognizer must be whisper:FOLDER or whisper:NAME, got {name!r}.")
    from edge_msa_runtime.speech.whisper import WhisperRecognizer

    return WhisperRecognizer(name[len(WHISPER) :], language=language, threads=threads)
