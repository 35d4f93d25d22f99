"""Whisper, run by faster-whisper (CTranslate2), without any connection."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator

import numpy as np

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.errors import UsageError, first_line
from edge_msa_runtime.media.signals import SAMPLE_RATE
from edge_msa_runtime.speech.listener import BufferedListener
from edge_msa_runtime.text.words import Word
from edge_msa_runtime.vendor_packages import import_package

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FILES = ("config.json", "model.bin", "tokenizer.json")
# Samples per decision of the Silero voice activity detector, which is a part of faster-whisper.
_VOICE_PIECE = 512
# Probabilities of voice above which speech starts and below which it ends.
_VOICE_START, _VOICE_END = 0.5, 0.35
# Frames of the spectrogram per second, and those of the window that Whisper was trained on.
_FRAMES, _WINDOW = 100, 3000
# The encoder gets this much more sound than there is, in frames, or it makes up words at the end.
_PADDING = 300
_SHORTEST = 1000
# Nobody says more tokens per second. A text that repeats itself ends there.
_TOKENS, _SPARE_TOKENS = 10, 16
# Whisper's own limits for text that repeats itself, and for sound that is no speech.
_MAX_REPETITION = 2.4
_NO_SPEECH = 0.6
_UNLIKELY = -1.0


class WhisperRecognizer:
    """A Whisper model with int8 weights on the CPU.

    The encoder processes only as much of Whisper's window of 30 s as there is sound, which makes short pieces several
    times faster. Sound without voice is not decoded. The same sound gives the same words: nothing is drawn at random.

    Several threads may use a recognizer. CTranslate2 processes their windows one after the other, in the order of their
    arrival, so a long recording delays each window of another thread by one window at most.

    Args:
        model: folder of a model for CTranslate2, or the name of one in the cache of the Hugging Face Hub.
        language: code of the language of the speech.
        threads: CPU threads.

    Attributes:
        name: `whisper:` and the name of the model or of its folder.
        version: versions of faster-whisper and the model, and the language.

    Raises:
        UsageError: the model does not exist, is incomplete, or does not know the language.
        PackageImportError: faster-whisper is not installed.
    """

    def __init__(self, model: str, *, language: str = "en", threads: int = 1) -> None:
        import_package("onnxruntime")  # first, so that its telemetry is off when faster-whisper imports it
        package = import_package("faster_whisper")
        folder = Path(model).expanduser()
        self.name = f"whisper:{folder.resolve().name if folder.is_dir() else model}"
        if not folder.is_dir():
            folder = _find_cached(package, model)
        _check_folder(folder)
        try:
            self._model: Any = _short_windows(package)(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except Exception as error:  # what CTranslate2 raises depends on the damage
            raise UsageError(
                f"{folder} cannot be loaded as a Whisper model ({first_line(error)}). Copy or convert it again."
            ) from error
        if language not in self._model.supported_languages:
            raise UsageError(
                f"{self.name} does not know the language {language!r}. "
                f"It knows: {', '.join(sorted(self._model.supported_languages)[:120])}."
            )
        digest = file_sha256(folder / "model.bin")[:12]
        self.version = f"faster-whisper {package.__version__}, model {digest}, language {language}"
        self._language = language
        self._voice = package.vad.get_vad_model()

    def transcribe(self, samples: NDArray[np.float32], *, check: Callable[[], object] | None = None) -> list[Word]:
        """Return the words of a whole recording. See `Recognizer.transcribe`."""
        return self._recognize(samples, beams=5, check=check) if self.find_voice(samples).any() else []

    def listen(self) -> BufferedListener:
        """Return a listener. See `Recognizer.listen`."""
        return BufferedListener(
            lambda samples: self._recognize(samples, beams=1), self.find_voice, _VOICE_PIECE / SAMPLE_RATE
        )

    def find_voice(self, samples: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return whether each 32 ms of samples (n,) contain voice: (ceil(n / 512),) bool."""
        if not len(samples):
            return np.zeros(0, bool)
        padded = np.pad(samples.astype(np.float32), (0, -len(samples) % _VOICE_PIECE))
        voiced = np.zeros(len(padded) // _VOICE_PIECE, bool)
        speaking = False
        for k, probability in enumerate(np.ravel(self._voice(padded))):
            speaking = probability >= (_VOICE_END if speaking else _VOICE_START)
            voiced[k] = speaking
        return voiced

    def _recognize(
        self, samples: NDArray[np.float32], *, beams: int, check: Callable[[], object] | None = None
    ) -> list[Word]:
        duration = len(samples) / SAMPLE_RATE
        segments: list[Any] = []
        for window, options in _attempts(duration):
            self._model.windows.frames = window
            decoded = self._decode(samples, beams, options, check)
            segments = [segment for segment in decoded if _is_speech(segment)]
            if segments and len(segments) == len(decoded):
                break
        return _words(segments, duration)

    def _decode(
        self, samples: NDArray[np.float32], beams: int, options: dict[str, Any], check: Callable[[], object] | None
    ) -> list[Any]:
        found, _ = self._model.transcribe(
            samples,
            language=self._language,
            beam_size=beams,
            temperature=0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            no_speech_threshold=_NO_SPEECH,
            log_prob_threshold=_UNLIKELY,
            **options,
        )
        segments = []
        for segment in found:  # each window is recognized when its first segment is taken
            segments.append(segment)
            if check is not None:
                check()
        return segments


def _attempts(duration: float) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the window of the encoder in frames and the options of each attempt to recognize some seconds of sound.

    In a short window, Whisper sometimes repeats a sentence until the text is full, or finds nothing. It then gets a
    longer window, and at last it must not repeat three words.
    """
    frames = math.ceil(duration * _FRAMES) + _PADDING
    if frames > _WINDOW:
        yield _WINDOW, {"vad_filter": True}
        return
    tokens = {"max_new_tokens": _SPARE_TOKENS + math.ceil(_TOKENS * duration)}
    window = max(_SHORTEST, -(-frames // 100) * 100)
    yield window, tokens
    yield min(_WINDOW, 2 * window), tokens
    yield _WINDOW, {**tokens, "no_repeat_ngram_size": 3}


def _is_speech(segment: Any) -> bool:
    """Return whether a segment is neither a repetition nor made up for noise, by Whisper's own limits."""
    silent = segment.no_speech_prob > _NO_SPEECH and segment.avg_logprob < _UNLIKELY
    return not silent and segment.compression_ratio <= _MAX_REPETITION


def _words(segments: list[Any], duration: float) -> list[Word]:
    """Return the words of segments with times that increase and are within the sound."""
    words: list[Word] = []
    until = 0.0
    for segment in segments:
        for word in segment.words or ():
            text = word.word.strip()
            if text and until < duration:
                start = max(until, min(float(word.start), duration))
                until = max(start, min(float(word.end), duration))
                words.append(Word(text, start, until))
    return words


class _Windows(threading.local):
    """The window of the call that runs in this thread, in frames."""

    frames = _WINDOW


def _short_windows(package: Any) -> Any:
    """Return faster-whisper's model class with an encoder that processes `window` frames instead of 30 s."""

    class Model(package.WhisperModel):  # type: ignore[misc]
        windows = _Windows()

        def encode(self, features: Any) -> Any:
            return super().encode(np.ascontiguousarray(features[..., : self.windows.frames]))

    return Model


def _check_folder(folder: Path) -> None:
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if not any(folder.glob("vocabulary.*")):
        missing.append("vocabulary.json")
    if missing:
        # Without a tokenizer, faster-whisper would try to download one.
        raise UsageError(
            f"{folder} must be a Whisper model for CTranslate2, but lacks {', '.join(missing)}. "
            "Convert a model with ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json."
        )


def _find_cached(package: Any, name: str) -> Path:
    """Return the folder of a model in the cache of the Hugging Face Hub."""
    if name[0] in "/.~\\" or name.count("/") > 1:  # names of the Hub are NAME or OWNER/NAME
        raise UsageError(f"There is no folder {name}. Pass whisper:FOLDER with a Whisper model for CTranslate2.")
    command = f"python -c \"import faster_whisper; faster_whisper.download_model('{name}')\""
    try:
        return Path(package.download_model(name, local_files_only=True))
    except ValueError as error:
        if "/" in name or "nvalid model size" not in str(error):
            raise UsageError(_not_cached(name, command)) from error
        known = ", ".join(package.available_models())
        raise UsageError(f"{name} is neither a folder nor a Whisper model. Models: {known}.") from error
    except Exception as error:  # a missing model is an error of huggingface_hub whose type depends on its version
        raise UsageError(_not_cached(name, command)) from error


def _not_cached(name: str, command: str) -> str:
    return (
        f"The Whisper model {name} is not in the cache, and edge-msa opens no connection. "
        f"Download it with: {command}, or pass whisper:FOLDER."
    )
