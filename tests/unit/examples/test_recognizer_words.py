from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import edge_msa_runtime as emr
from tests.locations import REPOSITORY

RECORDING = REPOSITORY / "examples/data/recognizer.jsonl"
TIMES = [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)]


def test_a_corrected_stream_predicts_as_if_the_words_had_been_right(
    load_example: Callable[[str], ModuleType], text_bundle: Path
) -> None:
    update = load_example("recognizer_words.py").update
    with emr.load(text_bundle) as session:
        stream = session.create_stream()
        stream.push("audio", [[0.5, 0.5]], 0.0)
        partial = [("i", 0.1, 0.2), ("hate", 0.3, 0.4)]
        assert not update(stream, [], partial)
        stream.predict()
        final = [("i", 0.1, 0.2), ("love", 0.25, 0.4), ("it", 0.45, 0.5)]
        assert update(stream, partial, final)
        assert not update(stream, final, final)
        expected = session.predict(text="i love it", audio=[[0.5, 0.5]])
        assert stream.predict().score == pytest.approx(expected.score, abs=1e-5)
        assert stream.words == tuple(emr.Word(*word) for word in final)


def test_each_utterance_is_predicted_alone(
    load_example: Callable[[str], ModuleType], text_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_example("recognizer_words.py").main(str(text_bundle))
    lines = capsys.readouterr().out.splitlines()
    results = [json.loads(line) for line in RECORDING.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(results)
    with emr.load(text_bundle) as session:
        for line, result in zip(lines, results, strict=True):
            text = " ".join(word["word"] for word in result["words"])
            assert f"{session.predict(text=text).score:+.2f}  {text}" in line
    assert sum("corrected" in line for line in lines) >= 2
    assert sum("end of the utterance" in line for line in lines) == 3


def test_a_result_without_tokens_has_no_prediction(
    load_example: Callable[[str], ModuleType], text_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = tmp_path / "recording.jsonl"
    results = [{"time": 0.1, "final": False, "words": words} for words in ([], [{"word": " ", "start": 0, "end": 1}])]
    recording.write_text("\n".join(map(json.dumps, results)) + "\n")
    load_example("recognizer_words.py").main(str(text_bundle), recording)
    assert capsys.readouterr().out == ""
