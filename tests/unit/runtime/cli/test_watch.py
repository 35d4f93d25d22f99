from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any, Callable, Iterable

import numpy as np
import pytest

from edge_msa_runtime.cli.main import main
from edge_msa_runtime.errors import InferenceError
from edge_msa_runtime.live import annotate
from edge_msa_runtime.streams.stream import Stream
from edge_msa_runtime.text.words import Word
from tests.media_files import gray_pictures, tone, write_media
from tests.unit.runtime.live.stand_ins import use_stand_ins
from tests.unit.runtime.toy_text import add_text_encoder

pytest.importorskip("av")

SRT = "1\n00:00:00,200 --> 00:00:01,000\ni love it\n\n2\n00:00:07,000 --> 00:00:08,000\nhate\n"


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds: voice in the first and the third one, pictures in all of them."""
    voice = tone(1.0)
    sound = np.concatenate([voice, 0 * voice, voice, 0 * voice])
    return write_media(
        tmp_path_factory.mktemp("talk") / "talk.mkv", sound=sound, codec="pcm_s16le", pictures=gray_pictures(100)
    )


@pytest.fixture
def transcript(tmp_path: Path) -> Path:
    path = tmp_path / "talk.srt"
    path.write_text(SRT, "utf-8")
    return path


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    use_stand_ins(monkeypatch, [Word("love", 0.5, 0.75), Word("it", 2.5, 2.75)])


def run_json(arguments: Iterable[object], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], list[str]]:
    code = main(["watch", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    summary: dict[str, Any] = json.loads(captured.out)
    return summary, captured.err.splitlines()


def read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_video_becomes_a_timeline(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, page = tmp_path / "timeline.jsonl", tmp_path / "timeline.html"
    summary, notes = run_json([talk, "--bundle", shared_bundle, "--output", log, "--page", page], capsys)
    assert notes == []
    assert (summary["utterances"], summary["errors"], summary["failure"]) == (2, 0, None)
    assert summary["subsets"].keys() == {"av"}
    assert summary["media"] == {"seconds": 4.0, "notes": []}
    assert summary["counters"]["audio"]["used"] == 400
    records = read_log(log)
    assert [records[0]["record"], records[-1]["record"]] == ["stream", "summary"]
    assert records[0]["source"] == str(talk)
    finals = [item["at"] for item in records if item["record"] == "prediction" and item["final"]]
    assert finals == pytest.approx([1.6, 3.6], abs=0.11)
    text = page.read_text("utf-8")
    assert "<h1>talk.mkv</h1>" in text
    assert "data:image" not in text


def test_nothing_is_written_unless_it_is_wanted(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(talk.parent.iterdir())
    run_json([talk, "--bundle", shared_bundle], capsys)
    assert list(tmp_path.iterdir()) == []
    assert sorted(talk.parent.iterdir()) == before


@pytest.mark.parametrize("source", ["--transcript", "--asr"])
def test_words_come_from_a_transcript_or_a_recognizer(
    make_text_bundle: Callable[[str], Path],
    talk: Path,
    transcript: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: str,
) -> None:
    log = tmp_path / "timeline.jsonl"
    value = transcript if source == "--transcript" else "whisper:stand-in"
    arguments = [talk, "--bundle", make_text_bundle("table"), source, value, "--output", log]
    summary, notes = run_json(arguments, capsys)
    words = [word for item in read_log(log) if item["record"] == "words" for word in item["words"]]
    if source == "--transcript":
        assert words == ["i", "love", "it"]
        assert notes == [f"note: {talk}: 1 words of the transcript are after the end"]
    else:
        assert words == ["love", "it"]
    assert summary["counters"]["language"]["used"] == len(words)
    again, _ = run_json([talk, "--bundle", make_text_bundle("table"), "--transcript", log], capsys)
    assert again["predictions"] == summary["predictions"]
    assert again["counters"]["language"]["used"] == len(words)


def test_lines_show_predictions_and_words(
    make_text_bundle: Callable[[str], Path], talk: Path, transcript: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(talk), "--bundle", str(make_text_bundle("table")), "--transcript", str(transcript)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["0.36", "s", "i"]
    assert any(line.endswith("end of utterance") for line in lines)
    assert "2 utterances" in "\n".join(lines)


def test_thumbnails_are_in_the_page_if_they_are_wanted(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "timeline.html"
    run_json([talk, "--bundle", shared_bundle, "--page", page, "--thumbnails"], capsys)
    assert page.read_text("utf-8").count("data:image/jpeg;base64,") == 4


def test_a_modality_can_be_left_out(shared_bundle: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, subset in (("--no-audio", "v"), ("--no-vision", "a")):
        summary, notes = run_json([talk, "--bundle", shared_bundle, option], capsys)
        assert summary["subsets"].keys() == {subset}
        assert notes == []


def test_what_a_file_lacks_is_said(shared_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = write_media(tmp_path / "sound.wav", sound=tone(1.0), codec="pcm_s16le")
    summary, notes = run_json([sound, "--bundle", shared_bundle], capsys)
    assert summary["subsets"].keys() == {"a"}
    assert notes == [f"note: {sound} has no pictures: predictions go on without vision"]
    silent = write_media(tmp_path / "silent.mkv", pictures=gray_pictures(25))
    summary, notes = run_json([silent, "--bundle", shared_bundle], capsys)
    assert summary["subsets"].keys() == {"v"}
    assert notes == [f"note: {silent} has no sound: predictions go on without audio"]


def test_a_damaged_file_gives_what_it_has(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(talk.read_bytes()[: talk.stat().st_size * 6 // 10])
    log = tmp_path / "timeline.jsonl"
    summary, notes = run_json([cut, "--bundle", shared_bundle, "--output", log], capsys)
    assert 1 < summary["media"]["seconds"] < 3.5
    assert summary["predictions"] > 1
    assert "cut off" in "\n".join(notes)
    assert read_log(log)[-1]["media"]["notes"]


def test_an_error_in_the_middle_keeps_the_log_and_the_page(
    shared_bundle: Path,
    talk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict, count = Stream.predict, iter(range(100))

    def fail(self: Stream, at: float | None = None) -> Any:
        if next(count) == 3:
            raise InferenceError("the backend failed")
        return predict(self, at)

    monkeypatch.setattr(Stream, "predict", fail)
    log, page = tmp_path / "timeline.jsonl", tmp_path / "timeline.html"
    arguments = [talk, "--bundle", shared_bundle, "--output", log, "--page", page]
    assert main(["watch", *map(str, arguments)]) == 1
    assert "the backend failed" in capsys.readouterr().err
    records = read_log(log)
    assert records[-1]["failure"] == "the backend failed"
    assert sum(item["record"] == "prediction" for item in records) == 4
    assert page.is_file()


def test_an_interrupt_ends_with_the_summary(
    shared_bundle: Path,
    talk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict, count = Stream.predict, iter(range(100))

    def interrupt(self: Stream, at: float | None = None) -> Any:
        if next(count) == 2:
            signal.raise_signal(signal.SIGINT)
        return predict(self, at)

    monkeypatch.setattr(Stream, "predict", interrupt)
    log, page = tmp_path / "timeline.jsonl", tmp_path / "timeline.html"
    page.touch()  # a page is always replaced
    video = tmp_path / "out.mp4"
    arguments = [talk, "--bundle", shared_bundle, "--output", log, "--page", page, "--annotate", video]
    monkeypatch.setattr(annotate, "check_annotated", lambda _: None)
    assert main(["watch", *map(str, arguments)]) == 130
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == "interrupted"
    assert "video: not written, because the command was interrupted" in printed.out
    assert not video.exists()
    assert read_log(log)[-1]["interrupted"] is True
    assert page.is_file()


@pytest.mark.slow
def test_the_video_is_annotated(
    shared_bundle: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL")
    run_json([talk, "--bundle", shared_bundle, "--annotate", tmp_path / "out.mp4"], capsys)
    assert (tmp_path / "out.mp4").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("missing.mp4 --bundle BUNDLE", "missing.mp4 does not exist"),
        ("EMPTY --bundle BUNDLE", "is empty (0 bytes)"),
        ("LIAR --bundle BUNDLE", "is not a sound or video file"),
        ("TALK --bundle BUNDLE --every 0", "--every must be a positive number, got 0"),
        ("TALK --bundle BUNDLE --speed -1", "--speed must be 0 or more, got -1"),
        ("TALK --bundle BUNDLE --pause 0", "--pause must be a positive number, got 0"),
        ("TALK --bundle BUNDLE --longest 0.5", "--longest must be more than --pause, 0.6 s, got 0.5"),
        ("TALK --bundle BUNDLE --max-gap video=1", "max_gap must be for language, audio, vision, got 'video'"),
        ("TALK --bundle BUNDLE --asr whisper:x --transcript SRT", "Pass --asr or --transcript, not both."),
        ("TALK --bundle BUNDLE --thumbnails", "--thumbnails are for the page"),
        ("TALK --bundle BUNDLE --output TALK", "would overwrite an input"),
        ("TALK --bundle BUNDLE --page TALK", "would overwrite an input"),
        ("TALK --bundle BUNDLE --annotate TALK", "would overwrite an input"),
        ("TALK --bundle BUNDLE --output x.html --page x.html", "Two outputs have the path x.html"),
        ("TALK --bundle BUNDLE --output LIAR", "exists. Pass --overwrite to replace it"),
        ("TALK --bundle BUNDLE --annotate SOUND", "exists. Pass --overwrite to replace it"),
        ("TALK --bundle BUNDLE --page LIAR", "exists. Pass --overwrite to replace it"),
        ("TALK --bundle BUNDLE --annotate out.gif", "--annotate must be a file that ends in .mp4, .mkv, .mov"),
        ("SOUND --bundle BUNDLE --annotate out.mp4", "has no pictures. --annotate needs a video."),
        ("TALK --bundle TEXT --transcript LIAR", "has no words with times"),
        ("TALK --bundle LANGUAGE", "takes language frames only, and has no text encoder for words"),
        ("TALK --bundle WORDS", "needs words here, and there are none. Pass --transcript or --asr."),
        ("PICTURES --bundle WORDS --asr whisper:x", "The file has no sound for --asr. Pass --transcript."),
        ("SOUND --bundle BUNDLE --no-audio", "There was nothing to predict from."),
        ("TALK", "--bundle"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    make_bundle: Callable[..., Path],
    make_text_bundle: Callable[[str], Path],
    shared_bundle: Path,
    talk: Path,
    transcript: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"TALK": talk, "BUNDLE": shared_bundle, "SRT": transcript}
    for name, content in (("EMPTY", b""), ("LIAR", b"this is a text\n" * 50)):
        paths[name] = tmp_path / f"{name.lower()}.mp4"
        paths[name].write_bytes(content)
    words = options.split()
    if "SOUND" in words:
        paths["SOUND"] = write_media(tmp_path / "sound.wav", sound=tone(1.0), codec="pcm_s16le")
    if "PICTURES" in words:
        paths["PICTURES"] = write_media(tmp_path / "pictures.mkv", pictures=gray_pictures(25))
    if "TEXT" in words:
        paths["TEXT"] = make_text_bundle("table")
    if "LANGUAGE" in words:
        paths["LANGUAGE"] = make_bundle(names=("language",))
    if "WORDS" in words:
        paths["WORDS"] = make_bundle(names=("language",))
        add_text_encoder(paths["WORDS"], "table")
    before = {path: path.read_bytes() for path in paths.values() if path.is_file()}
    code = main(["watch", *(str(paths.get(word, word)) for word in words)])
    captured = capsys.readouterr()
    assert code in {1, 2}, captured.out
    error = captured.err.splitlines()[-1]
    assert error.startswith("edge-msa-run: ")
    assert message in error
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_imports_its_packages_late() -> None:
    import subprocess

    code = (
        "import sys; from edge_msa_runtime.cli.main import create_parser; create_parser(); "
        "sys.exit(bool({'av', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
