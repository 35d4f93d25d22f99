from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa.benchmark.recognition import (
    RecognitionCache,
    Recognized,
    Synthesizer,
    assign_voices,
    plain_words,
    speakable,
    word_errors,
)
from edge_msa.errors import UsageError
from edge_msa_runtime.errors import BackendUnavailableError

CONDITIONS = {"recognizer": "whisper:tiny.en", "synthesizer": "espeak-ng 1.51"}


def recognized(text: str, words: str = "") -> Recognized:
    return Recognized("id", text, "en-us", words or text, 1.0, 0.1)


@pytest.mark.parametrize(
    ("expected", "found", "errors"),
    [
        ("i love it", "i love it", 0),
        ("i love it", "", 3),
        ("", "i", 1),
        ("i love it", "i loved it", 1),
        ("i love it", "i really love", 2),
        ("a b c d e", "b c x e f", 3),
    ],
)
def test_word_errors_are_the_edit_distance(expected: str, found: str, errors: int) -> None:
    assert word_errors(expected.split(), found.split()) == errors
    assert word_errors(found.split(), expected.split()) == errors


def test_case_and_punctuation_are_no_errors() -> None:
    assert plain_words("Well-made!  Don't, I'd say...") == ["well", "made", "dont", "id", "say"]
    assert plain_words(" - ... ") == []


def test_upper_case_transcripts_are_said_in_lower_case() -> None:
    assert speakable("AND HE WAS  STILL BORING\n") == "and he was still boring"
    assert speakable("I saw it on TV") == "I saw it on TV"


def test_a_video_has_one_voice_whatever_else_is_in_the_data() -> None:
    groups = [f"video{k // 3}" for k in range(60)]
    voices = assign_voices(groups, ["a", "b", "c"])
    assert set(voices) == {"a", "b", "c"}
    assert all(
        len({voice for group, voice in zip(groups, voices, strict=True) if group == name}) == 1 for name in groups
    )
    assert assign_voices(groups[30:], ["a", "b", "c"]) == voices[30:]


def test_a_cache_keeps_what_was_recognized_under_its_conditions(tmp_path: Path) -> None:
    path = tmp_path / "out" / "asr.words.jsonl"
    cache = RecognitionCache(path, CONDITIONS)
    cache.add(recognized("i love it", "I loved it."))
    other = RecognitionCache(path, {**CONDITIONS, "recognizer": "whisper:base"})
    assert len(other) == 0
    other.add(recognized("i love it", "I love it."))
    again = RecognitionCache(path, CONDITIONS)
    found = again.find("i love it", "en-us")
    assert found is not None
    assert found.recognized == "I loved it."
    assert again.find("i love it", "en-gb") is None
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


def test_a_line_that_was_cut_off_is_recognized_again(tmp_path: Path) -> None:
    path = tmp_path / "asr.words.jsonl"
    cache = RecognitionCache(path, CONDITIONS)
    for text in ("one", "two"):
        cache.add(recognized(text))
    path.write_bytes(path.read_bytes()[:-20])
    cache = RecognitionCache(path, CONDITIONS)
    assert [cache.find(text, "en-us") is not None for text in ("one", "two")] == [True, False]
    cache.add(recognized("two"))
    assert [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()] == ["one", "two"]


@pytest.mark.parametrize("content", ["my notes\nabout it\n", '{"record": "stream"}\n{"a": 1}\n'])
def test_a_foreign_file_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "asr.words.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"Line 1 of .* is no recognized text\. Move the file"):
        RecognitionCache(path, CONDITIONS)
    assert path.read_text(encoding="utf-8") == content


def test_a_missing_synthesizer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(BackendUnavailableError, match=r"espeak-ng is not installed\. Run: sudo apt-get install"):
        Synthesizer()


def test_a_text_becomes_sound_and_no_option() -> None:
    pytest.importorskip("av")
    try:
        synthesizer = Synthesizer()
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    sound: Any = synthesizer.speak("--version is not an option here", "en-us")
    assert (sound.dtype, sound.ndim) == (np.dtype(np.float32), 1)
    assert 1 < len(sound) / 16_000 < 6
    assert synthesizer.version.startswith("espeak-ng 1.")


@pytest.mark.parametrize("voice", ["no-such-voice", "en-us+no-such-variant", ""])
def test_an_unknown_voice_is_refused(voice: str) -> None:
    try:
        Synthesizer(["en-us", "en-us+f3"])
    except BackendUnavailableError as error:
        pytest.skip(str(error))
    with pytest.raises(UsageError, match=r"espeak-ng has no voice '.*'\. List them with: espeak-ng --voices"):
        Synthesizer([voice])
