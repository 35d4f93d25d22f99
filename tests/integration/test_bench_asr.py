"""`edge-msa bench asr` with a synthesizer and a recognizer that are replaced, and once with the real ones."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edge_msa as em
from edge_msa.benchmark import recognition
from edge_msa.workflows import bench_asr
from edge_msa_runtime.text.words import Word
from tests.integration.conftest import Command, PipelineRun

pytest.importorskip("av")
TEXTS = ("I LOVE IT", "LOVE AT ALL", "NOT AT ALL", "NOT IT")


class FakeSynthesizer:
    version = "synthesizer 1"

    def __init__(self, voices: Any) -> None:
        assert tuple(voices) == recognition.VOICES

    def speak(self, text: str, voice: str) -> Any:
        assert voice in {"x", *recognition.VOICES}
        return np.frombuffer(text.encode().ljust(16_000), np.uint8).astype(np.float32)


class FakeRecognizer:
    """Recognizes every word but `not`, and nothing in every fourth sound."""

    name, version = "fake", "1"

    def __init__(self) -> None:
        self.calls = 0
        self.limit: int | None = None

    def transcribe(self, samples: Any) -> list[Word]:
        if self.calls == self.limit:
            raise KeyboardInterrupt
        self.calls += 1
        text = bytes(samples.astype(np.uint8)).decode().split()
        return [Word(word, 0.0, 1.0) for word in text if word != "not"] if text != ["not", "it"] else []


@pytest.fixture
def recognizer(monkeypatch: pytest.MonkeyPatch) -> FakeRecognizer:
    fake = FakeRecognizer()
    monkeypatch.setattr(bench_asr, "Synthesizer", FakeSynthesizer)
    monkeypatch.setattr(bench_asr, "open_recognizer", lambda _name, **_options: fake)
    return fake


@pytest.fixture
def transcripts(tmp_path: Path) -> Path:
    path = tmp_path / "transcripts.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "mode", "label", "video_id", "clip_id"])
        for k in range(48):
            text = TEXTS[k % 4] + " IT" * (k // 4)
            writer.writerow([text, "test" if k < 40 else "train", 2.0 if k % 4 < 2 else -2.0, f"video{k // 4}", k])
    return path


@pytest.fixture
def bundle(exported_bundle: Callable[[str, str], Path]) -> Path:
    return exported_bundle("laptop-x86", "table")


def test_the_cost_of_a_recognizer_is_measured(
    bundle: Path, transcripts: Path, tmp_path: Path, edge_msa: Command, recognizer: FakeRecognizer
) -> None:
    output = tmp_path / "asr.json"
    command = ("bench", "asr", bundle, "--transcripts", transcripts, "--asr", "whisper:x", "--output", output, "--json")
    result = edge_msa(*command)
    assert result.code == 0, result.err
    record = json.loads(result.out)
    assert json.loads(output.read_text()) == [record]
    assert (record["samples"], record["words"], record["without_words"], recognizer.calls) == (40, 290, 1, 40)
    assert record["word_error_rate"] == pytest.approx((20 + 1) / 290)
    assert record["real_time_factor"] >= 0
    rows = {row["metric"]: row for row in record["metrics"]}
    assert rows["mae"]["difference"] == pytest.approx(rows["mae"]["recognized"] - rows["mae"]["given"], abs=1e-6)
    assert rows["mae"]["low"] <= rows["mae"]["difference"] <= rows["mae"]["high"]
    assert rows["mae"]["recognized"] > rows["mae"]["given"]
    for text in ("given words", "word error rate 7.2 % of 290 words", "1 sample without a recognized word"):
        assert text in result.err

    again = edge_msa(*command)
    assert (again.code, recognizer.calls) == (2, 40)
    assert "--overwrite" in again.error_line
    assert edge_msa(*command, "--overwrite").code == 0
    assert recognizer.calls == 40


def test_an_interrupted_command_continues(
    bundle: Path, transcripts: Path, tmp_path: Path, recognizer: FakeRecognizer
) -> None:
    recognizer.limit = 7
    with pytest.raises(KeyboardInterrupt):
        em.bench_asr(bundle, data=transcripts, asr="whisper:x", output=tmp_path / "asr.json")
    assert not (tmp_path / "asr.json").exists()
    assert len((tmp_path / "asr.words.jsonl").read_text().splitlines()) == 7
    recognizer.limit = None
    table = em.bench_asr(bundle, data=transcripts, asr="whisper:x", output=tmp_path / "asr.json")
    assert (recognizer.calls, table.samples) == (40, 40)


def test_bad_input_is_refused_before_anything_is_recognized(
    bundle: Path,
    pipeline_run: PipelineRun,
    transcripts: Path,
    tmp_path: Path,
    edge_msa: Command,
    recognizer: FakeRecognizer,
    archive: Path,
) -> None:
    def fail(model: Path, data: Path, *more: str) -> str:
        output = tmp_path / "asr.json"
        result = edge_msa("bench", "asr", model, "--transcripts", data, "--asr", "whisper:x", "--output", output, *more)
        assert result.code in {1, 2}
        return result.error_line

    without_text = pipeline_run.folder / "bundle-laptop"
    assert "has no text input. Pass the bundle of a text model" in fail(without_text, transcripts)
    assert "has no valid split" in fail(bundle, transcripts, "--split", "valid")
    assert "has no transcripts" in fail(bundle, archive)
    assert recognizer.calls == 0


@pytest.mark.slow
def test_a_real_recognizer_understands_a_real_synthesizer(
    bundle: Path, transcripts: Path, tmp_path: Path, whisper_model: Path
) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: sudo apt-get install espeak-ng")
    table = em.bench_asr(
        bundle, data=transcripts, asr=f"whisper:{whisper_model}", output=tmp_path / "asr.json", voices="en-us", limit=6
    )
    assert table.samples == 6
    assert table.word_error_rate < 0.8
    assert table.recognizer.startswith("whisper:model (faster-whisper ")
