from __future__ import annotations

import json
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterable

import pytest

from edge_msa_runtime.cli.main import main
from edge_msa_runtime.replay.log import LogWriter
from edge_msa_runtime.replay.status import MadePrediction
from edge_msa_runtime.text.words import Word
from tests.media_files import gray_pictures, tone, write_media
from tests.unit.runtime.live.stand_ins import use_stand_ins
from tests.unit.runtime.toy_text import add_text_encoder

pytest.importorskip("av")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.6 seconds of voice, with pictures."""
    path = tmp_path_factory.mktemp("talk") / "talk.mkv"
    return write_media(path, sound=tone(0.6), codec="pcm_s16le", pictures=gray_pictures(15))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    use_stand_ins(monkeypatch, [Word("love", 0.1, 0.2), Word("it", 0.3, 0.4)])


def devices(talk: Path) -> list[str]:
    return ["--camera", f"file:{talk}", "--microphone", f"file:{talk}"]


def run_json(arguments: Iterable[object], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], list[str]]:
    code = main(["live", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    summary: dict[str, Any] = json.loads(captured.out)
    return summary, captured.err.splitlines()


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after the first prediction was written to the log."""
    write = LogWriter.on_prediction

    def write_and_interrupt(log: LogWriter, made: MadePrediction) -> None:
        write(log, made)
        monkeypatch.setattr(LogWriter, "on_prediction", write)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(LogWriter, "on_prediction", write_and_interrupt)


def test_devices_become_a_timeline(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, page = tmp_path / "timeline.jsonl", tmp_path / "timeline.html"
    options = ["--bundle", shared_bundle, "--every", 0.2, "--output", log, "--page", page]
    summary, _ = run_json([*devices(talk), *options], capsys)
    assert "av" in summary["subsets"]
    assert summary["utterances"] == 1
    assert summary["devices"]["microphone"] == {"received": 6, "dropped": 0, "losses": 0}
    camera = summary["devices"]["camera"]
    assert camera["received"] + camera["dropped"] >= 5
    assert "<h1>file:" in page.read_text("utf-8")
    assert summary["counters"]["audio"]["used"] == 60
    records = [json.loads(line)["record"] for line in log.read_text("utf-8").splitlines()]
    assert records[0] == "stream"
    assert records[-1] == "summary"


@pytest.mark.slow
def test_either_device_may_be_absent(shared_bundle: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, subset, name in (("--no-camera", "a", "microphone"), ("--no-microphone", "v", "camera")):
        summary, _ = run_json([*devices(talk), "--bundle", shared_bundle, option, "--every", 0.2], capsys)
        assert summary["subsets"].keys() == {subset}
        assert summary["devices"].keys() == {name}


def test_only_what_the_bundle_needs_is_opened(
    make_bundle: Callable[..., Path], talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(names=("vision",))
    arguments = ["--camera", f"file:{talk}", "--microphone", "file:nowhere.wav", "--bundle", bundle, "--every", 0.2]
    summary, _ = run_json(arguments, capsys)
    assert summary["devices"].keys() == {"camera"}


@pytest.mark.slow
def test_a_recognizer_hears_words(
    make_text_bundle: Callable[[str], Path], talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_text_bundle("table")
    arguments = [*devices(talk), "--bundle", bundle, "--asr", "whisper:stand-in", "--every", "0.2"]
    assert main(["live", *map(str, arguments)]) == 0
    out = capsys.readouterr().out
    assert " s  love\n" in out
    assert " s  it\n" in out
    assert "  microphone: 6 blocks of sound used, 0 dropped" in out
    assert "  words after their ends: p50 " in out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to a process")
@pytest.mark.usefixtures("interrupt")
def test_an_interrupt_ends_with_the_summary(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, page = tmp_path / "timeline.jsonl", tmp_path / "timeline.html"
    options = ["--bundle", shared_bundle, "--every", "0.1", "--output", log, "--page", page]
    assert main(["live", *map(str, [*devices(talk), *options])]) == 130
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1] == "interrupted"
    assert "predictions" in captured.out
    assert json.loads(log.read_text("utf-8").splitlines()[-1])["interrupted"] is True
    assert page.is_file()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-msa")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to a process")
@pytest.mark.usefixtures("interrupt")
def test_words_that_are_known_at_an_interrupt_are_printed(
    make_text_bundle: Callable[[str], Path], talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "timeline.jsonl"
    options = ["--bundle", make_text_bundle("table"), "--every", 0.1, "--output", log, "--asr", "whisper:stand-in"]
    assert main(["live", *map(str, [*devices(talk), *options])]) == 130
    captured = capsys.readouterr()
    assert " s  love\n" in captured.out
    assert captured.err.splitlines()[-1] == "interrupted"
    records = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert records[-1]["interrupted"] is True
    assert "l" in [item for item in records if item["record"] == "prediction"][-1]["subset"]


@pytest.mark.slow
def test_predictions_that_were_left_out_are_counted_everywhere(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_msa_runtime.replay import player
    from edge_msa_runtime.streams.stream import Stream

    predict = Stream.predict

    def slow(self: Stream, at: float | None = None) -> Any:
        time.sleep(0.15)
        return predict(self, at)

    monkeypatch.setattr(Stream, "predict", slow)
    monkeypatch.setattr(player, "_LATE_SECONDS", 0.0)
    page = tmp_path / "timeline.html"
    options = ["--bundle", shared_bundle, "--every", 0.05, "--page", page]
    assert main(["live", *map(str, [*devices(talk), *options])]) == 0
    assert " left out to keep real time, " in capsys.readouterr().out
    assert " left out to keep real time" in page.read_text("utf-8")
    summary, _ = run_json([*devices(talk), *options], capsys)
    assert summary["overdue"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--no-camera --no-microphone", "There is nothing to predict from. Leave out --no-camera or --no-microphone."),
        ("--asr whisper:x --no-microphone", "--asr needs a microphone"),
        ("--seconds 0", "--seconds must be a positive number, got 0"),
        ("--thumbnails", "--thumbnails are for the page"),
        ("--camera file:nowhere.mp4", "nowhere.mp4 does not exist"),
        ("--camera 99 --no-microphone", "does not exist"),
        ("--microphone file:nowhere.wav", "nowhere.wav does not exist"),
        ("--page BUNDLE", "is a folder"),
        ("--camera file:TALK --page TALK", "would overwrite an input"),
        ("--microphone file:TALK --output TALK", "would overwrite an input"),
        ("--page FACE", "would overwrite an input"),
        ("--output LOG", "log.jsonl exists. Pass --overwrite to replace it"),
        ("--output x.html --page x.html", "Two outputs have the path x.html"),
        ("WORDS --no-camera", "needs words here, and there are none. Pass --asr."),
    ],
)
def test_what_cannot_be_used_is_one_line(
    make_bundle: Callable[..., Path],
    shared_bundle: Path,
    talk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    message: str,
) -> None:
    words = options.split()
    bundle = shared_bundle
    if "WORDS" in words:
        bundle = make_bundle(names=("language",))
        add_text_encoder(bundle, "table")
        words.remove("WORDS")
    monkeypatch.setenv("EDGE_MSA_CACHE", str(tmp_path))
    face_model = tmp_path / "face_landmarker.task"
    face_model.write_bytes(b"a face model")
    paths = {"BUNDLE": shared_bundle, "TALK": talk, "FACE": face_model, "LOG": tmp_path / "log.jsonl"}
    paths["LOG"].touch()
    given = [re.sub("|".join(paths), lambda found: str(paths[found[0]]), word) for word in words]
    assert main(["live", "--bundle", str(bundle), *devices(talk), *given]) in {1, 2, 4}
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("edge-msa-run: ")
    assert message in error
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edge-msa")]
