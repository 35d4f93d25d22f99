from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_runtime.errors import UsageError
from edge_msa_runtime.media import SAMPLE_RATE, Sound, open_media
from edge_msa_runtime.speech import Recognizer, open_recognizer
from edge_msa_runtime.text.words import Word

pytest.importorskip("faster_whisper")
pytestmark = pytest.mark.slow

TEXT = "I really loved this movie. The acting was wonderful and the story made me laugh."


@pytest.fixture(scope="module")
def recognizer(whisper_model: Path) -> Recognizer:
    return open_recognizer(f"whisper:{whisper_model}")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Any:
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        pytest.skip("espeak-ng is not installed: sudo apt-get install espeak-ng")
    path = tmp_path_factory.mktemp("speech") / "x.wav"
    subprocess.run([espeak, "-v", "en-us", "-w", str(path), TEXT], check=True)
    return np.concatenate([item.samples for item in open_media(path) if isinstance(item, Sound)])


def plain(words: list[Word]) -> list[str]:
    return ["".join(letter for letter in word.text.lower() if letter.isalpha()) for word in words]


def listen(recognizer: Recognizer, samples: Any) -> list[Word]:
    listener = recognizer.listen()
    words: list[Word] = []
    for k in range(0, len(samples), 1600):
        words += listener.push(Sound(k / SAMPLE_RATE, samples[k : k + 1600]))
    return words + listener.finish()


def test_speech_becomes_words_with_times(recognizer: Recognizer, speech: Any) -> None:
    words = recognizer.transcribe(speech)
    assert plain(words) == TEXT.lower().replace(".", "").split()
    times = [time for word in words for time in (word.start or 0.0, word.end or 0.0)]
    assert times == sorted(times)
    assert times[-1] <= len(speech) / SAMPLE_RATE
    assert recognizer.transcribe(speech) == words


def test_a_listener_returns_the_words_of_the_whole_recording(recognizer: Recognizer, speech: Any) -> None:
    twice = np.concatenate([speech, np.zeros(SAMPLE_RATE, np.float32), speech])
    words = listen(recognizer, twice)
    expected = TEXT.lower().replace(".", "").split() * 2
    assert len(words) == len(expected)
    assert sum(a != b for a, b in zip(plain(words), expected)) <= 3
    assert all((a.end or 0.0) <= (b.start or 0.0) for a, b in zip(words, words[1:]))


@pytest.mark.parametrize("kind", ["silence", "noise", "loud noise", "hum"])
def test_sound_without_speech_has_no_words(recognizer: Recognizer, kind: str) -> None:
    rng = np.random.default_rng(0)
    samples = {
        "silence": np.zeros(160_000),
        "noise": rng.normal(0, 0.05, 160_000),
        "loud noise": rng.normal(0, 0.5, 160_000).clip(-1, 1),
        "hum": 0.3 * np.sin(2 * np.pi * 50 * np.arange(160_000) / SAMPLE_RATE),
    }[kind].astype(np.float32)
    assert recognizer.transcribe(samples) == []
    assert listen(recognizer, samples) == []
    assert recognizer.transcribe(samples[:0]) == []


def test_no_connection_is_opened(monkeypatch: pytest.MonkeyPatch, whisper_model: Path, tmp_path: Path) -> None:
    def refuse(*arguments: Any, **_options: Any) -> Any:
        raise AssertionError(arguments)

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    open_recognizer(f"whisper:{whisper_model}").transcribe(np.zeros(16_000, np.float32))
    with pytest.raises(UsageError, match=r"tiny\.en is not in the cache, and edge-msa opens no connection\. Download"):
        open_recognizer("whisper:tiny.en")
    partial = tmp_path / "partial"
    partial.mkdir()
    for name in ("config.json", "model.bin", "vocabulary.txt"):
        (partial / name).symlink_to(whisper_model / name)
    with pytest.raises(UsageError, match=r"partial must be a Whisper model for CTranslate2, but lacks tokenizer\.json"):
        open_recognizer(f"whisper:{partial}")


def test_a_wrong_name_or_language_and_a_damaged_model_get_one_line(whisper_model: Path, tmp_path: Path) -> None:
    for folder in ("/nope", "./nope", "models/whisper/nope"):
        with pytest.raises(UsageError, match=f"^There is no folder {folder}"):
            open_recognizer(f"whisper:{folder}")
    with pytest.raises(UsageError, match=r"^tiny\.de is neither a folder nor a Whisper model\. Models: tiny\.en, tiny"):
        open_recognizer("whisper:tiny.de")
    with pytest.raises(UsageError, match="does not know the language 'de'"):
        open_recognizer(f"whisper:{whisper_model}", language="de")
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copy(whisper_model / name, tmp_path / name)
    (tmp_path / "model.bin").write_bytes(b"damaged")
    with pytest.raises(UsageError, match=r"cannot be loaded as a Whisper model \(.*\)\. Copy or convert it again\."):
        open_recognizer(f"whisper:{tmp_path}")
