from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import Prediction, Session, load
from edge_msa_runtime.cli.main import main


def _last(text: str) -> Any:
    return json.loads(text.splitlines()[-1])


def test_info_tells_what_is_inside(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(shared_bundle), "--json"]) == 0
    out = capsys.readouterr().out
    told = _last(out)
    assert told["modalities"]["audio"] == {"dim": 2, "chunk": 5, "window": 15, "frame_rate_hz": None}
    assert [backend["name"] for backend in told["backends"]] == ["onnxruntime", "openvino"]
    assert "fake for laptop-x86: mosi (negative, neutral, positive)" in out


def test_verify_passes_on_a_whole_bundle(shared_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino")
    assert main(["verify", str(shared_bundle), "--backend", "openvino", "--json"]) == 0
    out = capsys.readouterr().out
    assert _last(out)["passed"]
    assert "14 of 14 golden predictions came back with openvino on CPU at fp32" in out


def test_verify_all_goes_through_the_backends_that_are_here(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["verify", path, "--all", "--json"]) == 0
    captured = capsys.readouterr()
    assert [(one["backend"], one["precision"], one["passed"]) for one in _last(captured.out)] == [
        ("onnxruntime", "fp32", True)
    ]
    assert _last(captured.out)[0]["largest_difference"] < 1e-5
    assert "note: left out; tensorrt cannot be imported" in captured.err
    assert main(["verify", path, "--all", "--strict"]) == 4
    assert main(["verify", path, "--all", "--backend", "tensorrt"]) == 4
    assert main(["verify", path, "--all", "--precision", "fp32"]) == 2


def test_verify_ends_with_3_when_a_prediction_does_not_come_back(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(make_bundle(golden_error=0.5, names=("language",))), "--json"]) == 3
    captured = capsys.readouterr()
    assert not _last(captured.out)["passed"]
    assert len(captured.err.splitlines()) == 1


def test_predict_reads_an_archive_with_masks(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.array([True, False, True, True])
    arrays = {"language": frames("language", 4), "valid.language": mask, "audio": frames("audio", 6)}
    np.savez(tmp_path / "in.npz", **arrays)
    assert main(["predict", str(shared_bundle), str(tmp_path / "in.npz"), "--json"]) == 0
    wanted = load(shared_bundle).predict(language=arrays["language"], audio=arrays["audio"], valid={"language": mask})
    told = _last(capsys.readouterr().out)
    assert (told["score"], told["label"], told["subset"]) == (wanted.score, wanted.label, "la")


def test_predict_reads_an_array_a_modality(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", frames("vision", 4))
    assert main(["predict", str(shared_bundle), "--vision", str(tmp_path / "v.npy")]) == 0
    assert "from v with onnxruntime on CPU at fp32" in capsys.readouterr().out


def test_predict_tells_the_time_of_a_prediction_after_the_graph_is_loaded(
    shared_bundle: Path,
    tmp_path: Path,
    frames: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inner, read = Session.predict, []

    def predict(session: Session, **given: Any) -> Prediction:
        before = session.load_milliseconds
        read.append((inner(session, **given), session.load_milliseconds - before, session.load_milliseconds))
        return read[-1][0]

    monkeypatch.setattr(Session, "predict", predict)
    np.save(tmp_path / "v.npy", frames("vision", 4))
    assert main(["predict", str(shared_bundle), "--vision", str(tmp_path / "v.npy"), "--json"]) == 0
    (_, loading, _), (warm, nothing, whole) = read
    assert loading > 0 == nothing
    out = capsys.readouterr().out
    assert (_last(out)["milliseconds"], _last(out)["load_milliseconds"]) == (warm.milliseconds, whole)
    assert f"in {warm.milliseconds:.3f} ms" in out


def test_bench_compares_bundles_in_one_run(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_bundle(names=("language",)))
    assert main(["bench", path, path, "--repeats", "3", "--warmup", "0", "--json"]) == 0
    out = capsys.readouterr().out
    assert [result["latencies"][0]["subset"] for result in _last(out)] == ["l", "l"]
    assert "p90 ms" in out


def test_bench_all_measures_every_backend_that_is_here_in_one_run(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["bench", path, "--all", "--repeats", "2", "--rate", "1000", "--json"]) == 0
    captured = capsys.readouterr()
    assert [(one["backend"], one["rate_hz"]) for one in _last(captured.out)] == [("onnxruntime", 1000.0)]
    assert "note: left out; tensorrt" in captured.err
    assert "predictions due at 1000 Hz" in captured.out
    assert main(["bench", path, "--all", "--precision", "int8"]) == 2


def test_an_backend_that_was_passed_over_is_told(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    path = str(make_bundle(backends=("tensorrt", "onnxruntime"), names=("language",)))
    assert main(["verify", path]) == 0
    assert "note: using onnxruntime; tensorrt cannot be imported" in capsys.readouterr().err
    assert main(["verify", path, "--strict"]) == 4
    assert "apt-get install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["verify", "nowhere"], 2, "No folder at 'nowhere'"),
        (["verify", "BUNDLE", "--backend", "onnx"], 2, "unknown backend 'onnx' (did you mean 'onnxruntime'?)"),
        (["verify", "BUNDLE", "--precision", "int4"], 2, "no graphs at 'int4'"),
        (["verify", "BUNDLE", "--thread", "x"], 2, "invalid int value"),
        (["frobnicate"], 2, "invalid choice: 'frobnicate'"),
        ([], 2, "COMMAND"),
        (["predict", "BUNDLE"], 2, "no input was given"),
        (["predict", "BUNDLE", "absent.npz"], 2, "absent.npz cannot be read: No such file"),
        (["info", "FOLDER"], 2, "is not a bundle. It has no manifest.json"),
        (["predict", "BUNDLE", "TEXT"], 2, "not a NumPy file (.npy, .npz of arrays named language, audio, vision)"),
        (["predict", "BUNDLE", "PNG"], 2, "not a NumPy file (.npy, .npz of arrays named language, audio, vision)"),
        (["predict", "BUNDLE", "--audio", "EMPTY"], 2, "is not a NumPy file"),
        (["predict", "BUNDLE", "--audio", "PICKLE"], 2, "is no .npz or .npy of numbers: it holds objects"),
        (["predict", "BUNDLE", "--language", "HUGE"], 2, "language is 1e+38 at frame 0, feature 0"),
        (["predict", "BUNDLE", "STRANGE"], 2, "has an array 'sound'"),
        (["predict", "BUNDLE", "TRUNCATED"], 2, "is no .npz or .npy of numbers"),
        (["predict", "BUNDLE", "ONE"], 2, "holds one array without a name"),
        (["predict", "BUNDLE", "--audio", "STRANGE"], 2, "holds several arrays"),
        (["predict", "BUNDLE", "--audio", "ONE"], 2, "audio has shape (3, 4), wanted is (frames, 2)"),
        (["bench", "BUNDLE", "--repeats", "0"], 2, "0 repeats"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    shared_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    names = ("TEXT", "PNG", "EMPTY", "PICKLE", "HUGE", "STRANGE", "TRUNCATED", "ONE")
    files = {name: tmp_path / f"{name.lower()}.npy" for name in names}
    for name, content in (("TEXT", b"hello"), ("PNG", b"\x89PNG\r\n\x1a\n"), ("EMPTY", b"")):
        files[name].write_bytes(content)
    for name, value in (("PICKLE", np.array([None])), ("HUGE", np.full((2, 4), 1e38)), ("ONE", np.zeros((3, 4)))):
        with files[name].open("wb") as file:
            np.save(file, value)
    for name in ("STRANGE", "TRUNCATED"):
        with files[name].open("wb") as file:
            np.savez(file, sound=np.zeros(3))
    files["TRUNCATED"].write_bytes(files["TRUNCATED"].read_bytes()[:-30])
    places = {
        "BUNDLE": str(shared_bundle),
        "FOLDER": str(tmp_path),
        **{name: str(path) for name, path in files.items()},
    }
    assert main([places.get(argument, argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["info", "verify", "bench"])
def test_a_changed_byte_ends_with_1(bundle_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    with (bundle_path / "graphs/fuse.onnx").open("ab") as file:
        file.write(b"x")
    assert main([command, str(bundle_path)]) == 1
    assert "graphs/fuse.onnx has changed" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("edge_msa_runtime.session.open_bundle", interrupt)
    assert main(["verify", str(shared_bundle)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_the_module_runs_as_a_program(shared_bundle: Path) -> None:
    command = [sys.executable, "-m", "edge_msa_runtime", "info", str(shared_bundle)]
    assert "fake for laptop-x86" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
