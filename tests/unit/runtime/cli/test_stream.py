from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterable
from urllib.request import urlopen

import numpy as np
import pytest

from edge_msa_runtime import load
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.cli.playing import parse_seconds
from edge_msa_runtime.errors import InferenceError, UsageError
from edge_msa_runtime.replay import views
from edge_msa_runtime.replay.player import Player
from edge_msa_runtime.streams.stream import Stream


def line(name: str, rows: Any, timestamp: float | None, **fields: Any) -> str:
    values = {"type": "frames", "modality": name, "frames": rows.tolist(), "period": 0.1, **fields}
    return json.dumps(values if timestamp is None else {**values, "timestamp": timestamp})


@pytest.fixture
def json_lines(tmp_path: Path, frames: Callable[..., Any]) -> Path:
    """One utterance of audio and vision, 10 frames each, in chunks of 5."""
    rows = [(name, first) for first in (0, 5) for name in ("audio", "vision")]
    lines = [line(name, frames(name, 10)[first : first + 5], first / 10) for name, first in rows]
    path = tmp_path / "input.jsonl"
    path.write_text("\n".join([*lines, '{"type": "end_utterance", "timestamp": 1.0}']), "utf-8")
    return path


@pytest.fixture
def samples(tmp_path: Path, frames: Callable[..., Any]) -> Path:
    """Two utterances of a folder."""
    folder = tmp_path / "samples"
    for seed, name in enumerate(("a[0]", "a[1]")):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / "audio.npy", frames("audio", 20, seed))
        np.save(folder / name / "vision.npy", frames("vision", 10, seed))
    return folder


COMMAND = "import sys; from edge_msa_runtime.cli import main; sys.exit(main(sys.argv[1:]))"


def run_json(arguments: Iterable[object], capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    assert main(["stream", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    (result,) = captured.out.splitlines()  # nothing else is on stdout
    return json.loads(result), captured.err


def test_json_lines_give_the_predictions_of_the_session(
    shared_bundle: Path,
    json_lines: Path,
    frames: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    log = tmp_path / "log.jsonl"
    summary, err = run_json([shared_bundle, json_lines, "--log", log], capsys)
    assert err == ""
    assert (summary["predictions"], summary["utterances"], summary["errors"]) == (2, 1, 0)
    assert summary["counters"]["audio"]["used"] == 10
    assert summary["latency_ms"]["p50"] > 0
    records = [json.loads(text) for text in log.read_text("utf-8").splitlines()]
    assert [records[0]["record"], records[-1]["record"]] == ["stream", "summary"]
    (final,) = [item for item in records if item["record"] == "prediction" and item["final"]]
    expected = load(shared_bundle).predict(audio=frames("audio", 10), vision=frames("vision", 10))
    assert final["score"] == pytest.approx(expected.score, abs=1e-5)
    assert final["subset"] == "av"
    assert records[-1]["predictions"] == 2


def test_without_json_predictions_and_a_summary_are_printed(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    assert main(["stream", str(shared_bundle), str(json_lines), "--log", str(log)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == ""
    assert lines[0].lstrip().startswith("0.50 s  av ")
    assert lines[1].endswith("end of utterance")
    assert "2 predictions (av 2), 1 utterance" in lines[2]
    assert lines[-1] == f"log: {log}. Draw it on a workstation with the toolkit: edge-msa report --stream {log}"


def test_malformed_lines_are_named_and_the_rest_goes_on(
    shared_bundle: Path, json_lines: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    clean, _ = run_json([shared_bundle, json_lines], capsys)
    good = json_lines.read_text("utf-8").splitlines()
    narrow = line("audio", frames("audio", 2)[:, :1], 0.4)
    lines = [good[0], "{", narrow, *good[1:3], '{"type": "frames", "modality": "audio", "frames": [[1]]}', *good[3:]]
    json_lines.write_text("\n".join(lines), "utf-8")
    broken, err = run_json([shared_bundle, json_lines], capsys)
    assert broken["errors"] == 3
    notes = err.splitlines()
    assert notes[0].startswith("note: line 2: the line is not JSON")
    assert notes[1].startswith("note: line 3: audio must be an array of shape (frames, 2), got (2, 1).")
    assert notes[2].startswith("note: line 6: ")
    assert broken["first_errors"][0].startswith("line 2: ")
    assert broken["predictions"] == clean["predictions"]
    assert broken["counters"]["audio"]["used"] == clean["counters"]["audio"]["used"]


def test_many_malformed_lines_are_counted(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_lines.write_text("x\n" * 50 + json_lines.read_text("utf-8"), "utf-8")
    summary, err = run_json([shared_bundle, json_lines], capsys)
    assert (summary["errors"], summary["predictions"]) == (50, 2)
    assert len(err.splitlines()) == 11
    assert "40 more errors" in err


def test_stdin_is_read(
    shared_bundle: Path, json_lines: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json_lines.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    summary, _ = run_json([shared_bundle, "-"], capsys)
    assert (summary["source"], summary["predictions"]) == ("-", 2)


def test_words_of_a_recognizer_are_predicted(
    make_text_bundle: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, path, log = make_text_bundle("table"), tmp_path / "words.jsonl", tmp_path / "log.jsonl"
    lines: list[dict[str, Any]] = [
        {"type": "words", "words": ["i", "love"], "times": [[0.0, 0.2], [0.2, 0.6]]},
        {"type": "words", "words": ["it"], "times": [[0.6, 0.8]]},
        {"type": "predict", "timestamp": 0.8},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    run_json([bundle, path, "--every", 0, "--log", log], capsys)
    records = [json.loads(text) for text in log.read_text("utf-8").splitlines()]
    (prediction,) = [item for item in records if item["record"] == "prediction"]
    assert prediction["score"] == pytest.approx(load(bundle).predict(text="i love it").score, abs=1e-5)


def test_the_utterances_of_a_folder_are_played(
    shared_bundle: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [shared_bundle, "--data", samples, "--rate", "audio=10", "--gap", "1"]
    summary, err = run_json(arguments, capsys)
    assert "the frame rates of vision are unknown: the frames are spread over each utterance" in err
    assert summary["utterances"] == 2
    assert summary["seconds"] == pytest.approx(5.0, abs=0.4)
    assert summary["counters"]["audio"]["used"] == 40
    longer, _ = run_json([*arguments, "--duration", 20, "--chunk", 1], capsys)
    assert longer["utterances"] == 7
    unknown, err = run_json([shared_bundle, "--data", samples], capsys)
    assert "is played at 10 Hz" in err
    assert unknown["utterances"] == 2


def test_a_scenario_is_a_function_of_its_seed(
    shared_bundle: Path, samples: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def play(*options: object) -> dict[str, Any]:
        arguments = [shared_bundle, "--data", samples, "--duration", 100, "--lateness", "vision=0.1", *options]
        summary, _ = run_json(arguments, capsys)
        return {name: summary[name] for name in ("faults", "counters", "subsets", "events")}

    first = play("--scenario", "faulty", "--seed", 1)
    assert first == play("--scenario", "faulty", "--seed", 1)
    assert first != play("--scenario", "faulty", "--seed", 2)
    assert first["faults"]["vision"]["lost"] > 0
    for counters in first["counters"].values():
        assert counters["sent"] == counters["used"] + counters["dropped"] + counters["refused"]
    own = tmp_path / "own.json"
    own.write_text('{"modalities": {"vision": {"loss": 1}}}', "utf-8")
    assert play("--scenario", own)["subsets"].keys() == {"a"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "Pass one input: INPUT.jsonl, - for stdin, or --data FILE."),
        ("FILE --data DATA", "Pass one input"),
        ("FILE --split test", "--split is for the utterances of --data"),
        ("FILE --duration 3", "--duration is for the utterances of --data"),
        ("nowhere.jsonl", "nowhere.jsonl is not a file"),
        ("--data nowhere", "nowhere does not exist"),
        ("FILE --every 1e-9", "--every must be 0 or at least 0.001, got 1e-09"),
        ("FILE --every -1", "--every must be 0 or more, got -1"),
        ("FILE --speed nan", "--speed must be 0 or more, got nan"),
        ("--data DATA --chunk 0", "--chunk must be a positive number, got 0"),
        ("FILE --max-age -2", "--max-age must be a positive number, got -2"),
        ("FILE --lateness x", "--lateness must be a number, or NAME=NUMBER separated by commas, got 'x'"),
        ("FILE --lateness audio", "--lateness must be a number"),
        ("FILE --lateness video=1", "lateness must be for language, audio, vision, got 'video'"),
        ("FILE --max-gap audio=-1", "--max-gap must be a number"),
        ("--data DATA --rate 10", "--rate must be NAME=HZ for language, audio, vision, got '10'"),
        ("--data DATA --rate audio=0", "--rate must be NAME=HZ"),
        ("FILE --bad-frames keep", "invalid choice: 'keep'"),
        ("FILE --scenario losy", "Scenario 'losy' is neither a file nor one of clean"),
        ("FILE --scenario BAD", "modalities.audio.los is not a known field"),
        ("FILE --seed -1", "--seed must be 0 or more, got -1"),
        ("FILE --metrics-port 70000", "--metrics-port must be from 0 to 65535, got 70000"),
        ("FILE --log FILE", "input.jsonl"),
        ("FILE --truncate start", "text"),
        ("EMPTY", "There was nothing to predict from. No frame or word arrived."),
        ("BROKEN", "There was nothing to predict from. line 1: the line is not JSON"),
    ],
)
def test_an_invalid_option_is_one_line(
    shared_bundle: Path,
    json_lines: Path,
    samples: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: str,
    message: str,
) -> None:
    paths = {name: tmp_path / name.lower() for name in ("BAD", "EMPTY", "BROKEN")}
    paths["BAD"].write_text('{"modalities": {"audio": {"los": 1}}}', "utf-8")
    paths["EMPTY"].write_text("\n", "utf-8")
    paths["BROKEN"].write_text("x", "utf-8")
    names = {"FILE": json_lines, "DATA": samples, **paths}
    arguments = [str(names.get(word, word)) for word in options.split()]
    before = json_lines.read_bytes()
    assert main(["stream", str(shared_bundle), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("edge-msa-run: ")
    assert message in error
    assert json_lines.read_bytes() == before


BAD_LINES: list[dict[str, Any]] = [
    {"type": "frames", "modality": "audio", "frames": [[0, 0]], "timestamp": 0, "arrival": -3},
    {"type": "frames", "modality": "audio", "frames": [[0, 0]], "timestamp": -1},
    {"type": "frames", "modality": "audio", "frames": [[0, 0]], "timestamp": 10**400},
    {"type": "frames", "modality": "audio", "frames": [[0, 0]], "timestamp": float("nan")},
    {"type": "frames", "modality": "audio", "frames": [[0, 0]], "timestamp": "0.1"},
    {"type": "words", "words": ["a"], "times": [[-2, -1]]},
    {"type": "words", "words": ["\ud800"], "timestamp": 0.4},
    {"type": "bound", "modality": "audio", "timestamp": -1},
    {"type": "predict", "timestamp": -1},
    {"type": "end_utterance", "arrival": -1},
]


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("fields", BAD_LINES)
def test_a_line_with_a_bad_time_is_named_and_changes_nothing_else(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str], place: int, fields: dict[str, Any]
) -> None:
    clean, _ = run_json([shared_bundle, json_lines], capsys)
    lines = json_lines.read_text("utf-8").splitlines()
    lines.insert(place, json.dumps(fields))
    json_lines.write_text("\n".join(lines), "utf-8")
    log = json_lines.with_suffix(".log")
    summary, err = run_json([shared_bundle, json_lines, "--log", log], capsys)
    assert err.startswith(f"note: line {place + 1}: ")
    assert len(err.splitlines()) == summary["errors"] == 1
    for name in ("predictions", "utterances", "subsets", "seconds"):
        assert summary[name] == clean[name]
    records = [json.loads(text) for text in log.read_text("utf-8").splitlines()]
    assert [item["origin"] for item in records if item["record"] == "error"] == [f"line {place + 1}"]
    assert records[-1]["record"] == "summary"


def test_the_summary_comes_if_the_backend_fails(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise InferenceError("The backend failed.")

    monkeypatch.setattr(Stream, "end_utterance", fail)
    log = json_lines.with_suffix(".log")
    assert main(["stream", str(shared_bundle), str(json_lines), "--json", "--log", str(log)]) == 1
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert (summary["predictions"], summary["failure"]) == (1, "The backend failed.")
    assert captured.err == "edge-msa-run: The backend failed.\n"
    assert json.loads(log.read_text("utf-8").splitlines()[-1])["record"] == "summary"


def test_an_empty_input_is_one_line_and_json_has_its_summary(
    shared_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert main(["stream", str(shared_bundle), str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "No frame or word arrived" in captured.err
    assert main(["stream", str(shared_bundle), str(path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["predictions"] == 0


def test_the_log_is_written_to_a_new_folder_or_the_error_is_one_line(
    shared_bundle: Path, json_lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "new" / "folder" / "log.jsonl"
    run_json([shared_bundle, json_lines, "--log", log], capsys)
    assert log.read_text("utf-8").count('"record":"summary"') == 1
    if Path("/dev/full").exists():
        assert main(["stream", str(shared_bundle), str(json_lines), "--log", "/proc/nope/log.jsonl"]) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert error.startswith("edge-msa-run: Cannot write /proc/nope/log.jsonl")
        assert "Errno" not in error


def test_seconds_are_a_number_or_numbers_by_modality() -> None:
    assert parse_seconds("--lateness", "0.5") == 0.5
    assert parse_seconds("--lateness", "audio=1, vision=0.5") == {"audio": 1.0, "vision": 0.5}
    with pytest.raises(UsageError):
        parse_seconds("--lateness", "inf")
    with pytest.raises(UsageError, match="--lateness must have one number for audio, got 'audio=1,audio=2'"):
        parse_seconds("--lateness", "audio=1,audio=2")


def test_a_log_is_replaced_only_with_overwrite(
    shared_bundle: Path, json_lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.jsonl"
    run_json([shared_bundle, json_lines, "--log", log], capsys)
    content = log.read_bytes()
    assert main(["stream", str(shared_bundle), str(json_lines), "--log", str(log)]) == 2
    assert "log.jsonl exists. Pass --overwrite to replace it, or choose another path." in capsys.readouterr().err
    assert log.read_bytes() == content
    run_json([shared_bundle, json_lines, "--log", log, "--overwrite"], capsys)
    assert log.read_bytes() != content


def test_a_full_disk_names_the_log_and_keeps_the_summary(shared_bundle: Path, json_lines: Path, tmp_path: Path) -> None:
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    script += "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); " + COMMAND
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", script, "stream", str(shared_bundle), str(json_lines), "--json", "--log", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert f"Cannot write the log {log} (File too large). Free disk space" in done.stderr
    assert json.loads(done.stdout)["failure"].startswith("Cannot write the log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_a_full_stdout_is_named(shared_bundle: Path, json_lines: Path, option: list[str]) -> None:
    command = [sys.executable, "-c", COMMAND, "stream", str(shared_bundle), str(json_lines), *option]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert done.stderr == "edge-msa-run: Cannot write to stdout (No space left on device). Free disk space.\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_replay_with_its_summary(
    shared_bundle: Path, json_lines: Path, tmp_path: Path, number: int, code: int
) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, "-c", COMMAND, "stream", str(shared_bundle), "-", "--json", "--log", str(log)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json_lines.read_bytes() + b"\n")
    process.stdin.flush()  # stdin stays open, as from a microphone
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (log.exists() and '"final":true' in log.read_text("utf-8")):
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code
    summary = json.loads(out)
    assert (summary["interrupted"], summary["predictions"], summary["utterances"]) == (True, 2, 1)
    assert err.decode().splitlines() == ["interrupted"]
    assert json.loads(log.read_text("utf-8").splitlines()[-1])["record"] == "summary"


def test_metrics_are_served_during_the_replay(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prometheus_client")
    texts = []
    original = Player.play

    def play(player: Player, arrivals: Any) -> None:
        original(player, arrivals)
        port = capsys.readouterr().err.rpartition("127.0.0.1:")[2].partition("/")[0]
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            texts.append(answer.read().decode())

    monkeypatch.setattr(Player, "play", play)
    run_json([shared_bundle, json_lines, "--metrics-port", 0], capsys)
    assert 'edge_msa_predictions_total{subset="av"} 2.0' in texts[0]


def test_a_missing_metrics_package_exits_with_4(
    shared_bundle: Path, json_lines: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert main(["stream", str(shared_bundle), str(json_lines), "--metrics-port", "0"]) == 4
    assert "pip install 'edge-msa-runtime[metrics]'" in capsys.readouterr().err


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_terminal_shows_a_live_table_if_rich_is_installed(
    shared_bundle: Path, json_lines: Path, monkeypatch: pytest.MonkeyPatch, has_rich: bool
) -> None:
    if has_rich:
        pytest.importorskip("rich")
    monkeypatch.setattr(views, "has_rich", lambda: has_rich)
    main_end, terminal = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the end of a terminal
            while parts[-1:] != [b""]:
                parts.append(os.read(main_end, 4096))

    thread = threading.Thread(target=read)
    thread.start()
    with os.fdopen(terminal, "w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["stream", str(shared_bundle), str(json_lines)]) == 0
    thread.join(timeout=10)
    os.close(main_end)
    text = b"".join(parts).decode()
    assert ("modality" in text.partition("predictions")[0]) == has_rich
    assert ("end of utterance" in text) == (not has_rich)
    assert "2 predictions (av 2)" in text
