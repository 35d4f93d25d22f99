"""Speech made from transcripts, and what a recognizer makes of it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.files import write_text
from edge_msa.errors import EdgeMsaError, UsageError
from edge_msa_runtime.errors import BackendUnavailableError
from edge_msa_runtime.media import SAMPLE_RATE, Sound, open_media
from edge_msa_runtime.speech import Recognizer

PROGRAM = "espeak-ng"
VOICES = ("en-us", "en-us+f3", "en-gb", "en-gb+f4")
"""Voices of espeak-ng. Each video gets one, as a video has one speaker."""


@dataclass(frozen=True)
class Recognized:
    """What a recognizer made of one text.

    Attributes:
        id: The sample.
        text: Text that was said, as it was passed to espeak-ng.
        voice: Voice of espeak-ng.
        recognized: Words of the recognizer, separated by spaces.
        seconds: Length of the speech.
        recognition_seconds: Time that the recognizer took.
    """

    id: str
    text: str
    voice: str
    recognized: str
    seconds: float
    recognition_seconds: float


class Synthesizer:
    """Speaks texts with espeak-ng.

    Args:
        voices: The voices that will be used, with a variant, if any, such as `en-us+f3`.

    Raises:
        BackendUnavailableError: espeak-ng is not installed.
        UsageError: A voice does not exist.
    """

    def __init__(self, voices: Sequence[str] = VOICES) -> None:
        program = shutil.which(PROGRAM)
        if program is None:
            raise BackendUnavailableError(f"{PROGRAM} is not installed. Run: sudo apt-get install {PROGRAM}")
        self._program = program
        self.version = f"{PROGRAM} {self._list('--version').partition(':')[2].split()[0]}"
        # For an unknown voice, espeak-ng silently uses another one.
        names, variants = (_voice_names(self._list(option)) for option in ("--voices", "--voices=variant"))
        for voice in voices:
            name, _, variant = voice.partition("+")
            if name not in names or (variant and variant not in variants):
                raise UsageError(f"{PROGRAM} has no voice {voice!r}. List them with: {PROGRAM} --voices")

    def speak(self, text: str, voice: str) -> NDArray[np.float32]:
        """Return a text as sound: (n,) float32 at 16 kHz.

        Raises:
            EdgeMsaError: espeak-ng fails.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            completed = self._run(folder, "-v", voice, "-w", str(path), "--stdin", text=text)
            if completed.returncode or not path.is_file():
                reason = " ".join(completed.stderr.split()) or f"exit code {completed.returncode}"
                raise EdgeMsaError(f"{PROGRAM} cannot speak {text:.60} ({reason}).")
            sounds = [item.samples for item in open_media(path) if isinstance(item, Sound)]
        return np.concatenate(sounds)

    def _list(self, option: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            return self._run(folder, option).stdout

    def _run(self, folder: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run espeak-ng. It starts PulseAudio's client, whose files are in the folder instead of the user's home."""
        homes = ("HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")
        return subprocess.run(
            [self._program, *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **dict.fromkeys(homes, folder)},
        )


class RecognitionCache:
    """Recognized texts in a file with one JSON object per line, so that an interruption loses at most one.

    A file may have texts that were recognized under several conditions.

    Args:
        path: The file. It is continued if it exists.
        conditions: What decides about the words: recognizer and synthesizer.

    Raises:
        UsageError: The file is no such file.
        EdgeMsaError: It cannot be read or written.
    """

    def __init__(self, path: Path, conditions: Mapping[str, str]) -> None:
        self._path = path
        self._conditions = dict(conditions)
        self._known: dict[tuple[str, str], Recognized] = {}
        lines = _complete_lines(path)
        for line in lines:
            if all(line.get(name) == value for name, value in conditions.items()):
                item = Recognized(**{field.name: line[field.name] for field in fields(Recognized)})
                self._known[item.text, item.voice] = item
        # Written again, so that a line that was cut off does not spoil the next one.
        write_text(path, "".join(_format_line(line) for line in lines))

    def __len__(self) -> int:
        return len(self._known)

    def find(self, text: str, voice: str) -> Recognized | None:
        """Return what is known about a text."""
        return self._known.get((text, voice))

    def add(self, item: Recognized) -> None:
        """Keep a recognized text."""
        self._known[item.text, item.voice] = item
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_format_line(self._conditions | asdict(item)))


def recognize(
    sample: str, text: str, voice: str, synthesizer: Synthesizer, recognizer: Recognizer, cache: RecognitionCache
) -> Recognized:
    """Return what a recognizer makes of a text; from the cache if it is known."""
    known = cache.find(text, voice)
    if known is not None:
        return known
    samples = synthesizer.speak(text, voice)
    started = time.perf_counter()
    words = recognizer.transcribe(samples)
    elapsed = time.perf_counter() - started
    recognized = " ".join(word.text for word in words)
    item = Recognized(sample, text, voice, recognized, len(samples) / SAMPLE_RATE, round(elapsed, 4))
    cache.add(item)
    return item


def speakable(text: str) -> str:
    """Return a transcript as a synthesizer should get it: in lower case if it is all upper case."""
    plain = " ".join(text.split())
    return plain.lower() if plain.isupper() else plain


def assign_voices(groups: Sequence[str], voices: Sequence[str]) -> list[str]:
    """Return the voice of each sample. All samples of a video have one voice, and other samples do not change it."""
    return [
        voices[int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % len(voices)] for group in groups
    ]


def plain_words(text: str) -> list[str]:
    """Return the words of a text without case and punctuation, to count differences."""
    kept = "".join(letter for letter in text.casefold() if letter.isalnum() or letter.isspace() or letter == "-")
    return [word for word in kept.replace("-", " ").split() if word]


def word_errors(expected: Sequence[str], found: Sequence[str]) -> int:
    """Return the edit distance: the least number of words to replace, insert or delete."""
    row = list(range(len(found) + 1))
    for number, word in enumerate(expected, 1):
        before, row = row, [number]
        for column, other in enumerate(found, 1):
            row.append(min(before[column] + 1, row[-1] + 1, before[column - 1] + (word != other)))
    return row[-1]


def _voice_names(table: str) -> set[str]:
    """Return the languages, names and files in a list of voices; a file without its folder."""
    rows = [line.split() for line in table.splitlines()[1:]]
    return {name.rpartition("/")[2] for row in rows if len(row) >= 5 for name in (row[1], row[3], row[4])}


def _format_line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _complete_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of recognized texts; a last line that was cut off is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise EdgeMsaError(f"Cannot read {path} ({error}). Move it, or pass another --output.") from None
    names = {field.name for field in fields(Recognized)}
    values: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict) and names <= set(value):
            values.append(value)
        elif number < len(lines):
            raise UsageError(f"Line {number} of {path} is no recognized text. Move the file, or pass another --output.")
    return values
