from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import InferenceError, Prediction, Session, load
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.cli.main import main
from edge_msa_runtime.intervals import Intervals
from tests.unit.runtime.class_tasks import CLASSES, LABELS, make_calibration
from tests.unit.runtime.fake_bundles import seal


def test_predict_loads_an_archive_with_masks(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.array([True, False, True, True])
    arrays = {"language": frames("language", 4), "valid.language": mask, "audio": frames("audio", 6)}
    np.savez(tmp_path / "in.npz", **arrays)
    assert main(["predict", str(shared_bundle), str(tmp_path / "in.npz"), "--json"]) == 0
    expected = load(shared_bundle).predict(language=arrays["language"], audio=arrays["audio"], valid={"language": mask})
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["score"], result["label"], result["subset"]) == (expected.score, expected.label, "la")


def test_predict_loads_one_file_per_modality(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", frames("vision", 4))
    assert main(["predict", str(shared_bundle), "--vision", str(tmp_path / "v.npy")]) == 0
    assert "subset v, onnxruntime on CPU at fp32, latency" in capsys.readouterr().out


def test_predict_reports_the_latency_without_loading(
    shared_bundle: Path,
    tmp_path: Path,
    frames: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original, calls = Session.predict, []

    def predict(session: Session, **inputs: Any) -> Prediction:
        before = session.load_ms
        prediction = original(session, **inputs)
        calls.append((prediction, session.load_ms - before, session.load_ms))
        return prediction

    monkeypatch.setattr(Session, "predict", predict)
    np.save(tmp_path / "v.npy", frames("vision", 4))
    assert main(["predict", str(shared_bundle), "--vision", str(tmp_path / "v.npy"), "--json"]) == 0
    (_, first_load_ms, _), (second, second_load_ms, total_load_ms) = calls
    assert first_load_ms > 0 == second_load_ms
    out = capsys.readouterr().out
    result = json.loads(out.splitlines()[-1])
    assert (result["latency_ms"], result["load_ms"]) == (second.latency_ms, total_load_ms)
    assert f"latency {second.latency_ms:.3f} ms" in out


def test_predict_prints_the_interval_and_abstains(
    make_bundle: Callable[..., Path], tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    table = {"v": ((0.5, None),)}
    intervals = Intervals((0.8, 0.9), (), {"vision": 4.0}, 99, {"onnxruntime": {"fp32": table}}, {})
    task = TaskSpec("mosi", 1, ("negative", "neutral", "positive"), (-0.5, 0.5), -3.0, 3.0)
    bundle = make_bundle(backends=("onnxruntime",), task=task, intervals=intervals)
    np.save(tmp_path / "v.npy", frames("vision", 4))
    command = ["predict", str(bundle), "--vision", str(tmp_path / "v.npy"), "--json"]
    assert main([*command, "--abstain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" uncertain")
    assert lines[1] == "90 % interval -3.00 to +3.00"
    assert json.loads(lines[-1])["interval"] == [-3.0, 3.0]
    assert main([*command, "--coverage", "0.8"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["interval"] == pytest.approx([result["score"] - 0.5, min(3.0, result["score"] + 0.5)])
    assert main([*command, "--coverage", "80"]) == 2
    assert "coverage must be a number between 0 and 1, such as 0.9, got 80.0." in capsys.readouterr().err
    folder = tmp_path / "one"
    folder.mkdir()
    np.save(folder / "id.vision.npy", frames("vision", 4))
    assert main(["predict", str(bundle), "--data", str(folder), "--abstain"]) == 0
    header, row = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["id", "split", "subset", "score", "label", "low", "high", "warnings"]
    assert row[4:7] == ["uncertain", "-3.0", "3.0"]


def test_classes_are_printed_and_written_with_their_set(
    make_bundle: Callable[..., Path], tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(task=CLASSES, class_calibration=make_calibration(), backends=("onnxruntime",))
    np.save(tmp_path / "id.vision.npy", frames("vision", 1))
    expected = load(bundle).predict(vision=frames("vision", 1))
    assert main(["predict", str(bundle), "--vision", str(tmp_path / "id.vision.npy"), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [expected.label, f"90 % set: {', '.join(expected.prediction_set or ())}"]
    assert [line.split()[0] for line in lines[2:6]] == list(LABELS)
    assert json.loads(lines[-1])["prediction_set"] == list(expected.prediction_set or ())
    assert main(["predict", str(bundle), "--data", str(tmp_path)]) == 0
    header, row = csv.reader(capsys.readouterr().out.splitlines())
    probabilities = [f"probability.{name}" for name in LABELS]
    assert header == ["id", "split", "subset", "score", "label", *probabilities, "prediction_set", "warnings"]
    assert row[3:5] == ["", expected.label]
    assert [float(cell) for cell in row[5:9]] == pytest.approx(list(expected.probabilities.values()))
    assert row[9] == "; ".join(expected.prediction_set or ())


def test_predict_takes_a_text(make_text_bundle: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_text_bundle("table")
    assert main(["predict", str(folder), "--text", "i love it", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["score"] == load(folder).predict(text="i love it").score
    assert main(["predict", str(folder), "--text", ""]) == 2
    assert "text has no tokens" in capsys.readouterr().err


def test_predict_without_the_tokenizers_library_exits_with_4(
    make_text_bundle: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_text_bundle("table")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert main(["predict", str(folder), "--text", "i love it"]) == 4
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.case("F8")
def test_a_text_that_is_too_long_prints_a_warning(
    make_text_bundle: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(make_text_bundle("table"))
    long = "i love it " * 20
    for truncate, message in (("end", "the end of the text was dropped"), ("start", "the beginning of the text was")):
        assert main(["predict", path, "--text", long, "--truncate", truncate]) == 0
        captured = capsys.readouterr().err
        assert "warning: " in captured
        assert message in captured
    assert main(["predict", path, "--text", long, "--truncate", "window"]) == 0
    assert capsys.readouterr().err == ""


def _archive(path: Path, frames: Callable[..., Any], features: Any = None) -> Path:
    """Write two unlabeled samples with language and audio; the second one has no valid frame."""
    header = {"schema": 1, **({} if features is None else {"features": features})}
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "test/ids": np.array(["x,1", "y"])}
    for name in ("language", "audio"):
        arrays[f"test/{name}"] = np.stack([frames(name, 4), frames(name, 4)])
        arrays[f"test/{name}_valid"] = np.array([[True] * 4, [False] * 4])
    np.savez(path, **arrays)
    return path


@pytest.mark.case("F7")
def test_all_samples_of_a_file_are_predicted(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data = _archive(tmp_path / "x.npz", frames)
    expected = load(shared_bundle).predict(language=frames("language", 4), audio=frames("audio", 4))
    assert main(["predict", str(shared_bundle), "--data", str(data), "--output", str(tmp_path / "out.csv")]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out.csv'}: 1 sample predicted: {expected.label} 1\n"
    assert "1 of 2 samples has no prediction" in captured.err
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], first["split"], first["subset"], first["label"]) == ("x,1", "test", "la", expected.label)
    assert float(first["score"]) == pytest.approx(expected.score, rel=1e-6)
    assert (second["id"], second["subset"], second["score"]) == ("y", "", "")
    assert main(["predict", str(shared_bundle), "--data", str(data), "--output", str(tmp_path / "out.json")]) == 0
    content = json.loads((tmp_path / "out.json").read_text())
    assert main(["predict", str(shared_bundle), "--data", str(data), "--output", str(tmp_path / "out.json")]) == 2
    assert "out.json exists. Pass --overwrite to replace it, or choose another path." in capsys.readouterr().err
    assert [item["id"] for item in content["predictions"]] == ["x,1", "y"]
    assert content["predictions"][0]["score"] == expected.score


@pytest.mark.case("F7")
def test_texts_of_a_table_are_predicted(
    make_text_bundle: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_text_bundle("table")
    (tmp_path / "t.csv").write_text("id,text\na\u2028a,i love it\nb,\nc,  \n", "utf-8")
    assert main(["predict", str(folder), "--data", str(tmp_path / "t.csv"), "--json"]) == 0
    *lines, summary, _ = capsys.readouterr().out.split("\n")
    assert json.loads(summary)["predicted"] == 1
    rows = list(csv.DictReader(lines))
    assert [row["id"] for row in rows] == ["a\u2028a", "b", "c"]
    assert float(rows[0]["score"]) == pytest.approx(load(folder).predict(text="i love it").score, rel=1e-6)
    assert [row["warnings"] for row in rows] == ["", "no valid frame or word", "no valid frame or word"]


@pytest.mark.case("F7")
def test_one_unusable_sample_does_not_lose_the_others(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "good.vision.npy", frames("vision", 4))
    np.save(data / "bad.vision.npy", np.full((4, 3), np.nan, np.float32))
    assert main(["predict", str(shared_bundle), "--data", str(data)]) == 0
    bad, good = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (good["id"], good["subset"]) == ("good", "v")
    assert "must have finite values" in bad["warnings"]
    (data / "good.vision.npy").unlink()
    assert main(["predict", str(shared_bundle), "--data", str(data)]) == 2


@pytest.mark.case("F7")
def test_a_damaged_file_in_a_folder_does_not_lose_the_other_samples(
    shared_bundle: Path, tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "good.vision.npy", frames("vision", 4))
    np.save(tmp_path / "short.vision.npy", frames("vision", 4))
    np.savez(tmp_path / "zip.npz", vision=frames("vision", 4))
    for name in ("short.vision.npy", "zip.npz"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20])
    assert main(["predict", str(shared_bundle), "--data", str(tmp_path)]) == 0
    good, short, archive = csv.DictReader(capsys.readouterr().out.splitlines())
    assert good["subset"] == "v"
    assert "short.vision.npy" in short["warnings"]
    assert "is truncated" in archive["warnings"]
    (tmp_path / "good.vision.npy").unlink()
    assert main(["predict", str(shared_bundle), "--data", str(tmp_path)]) == 2
    assert "short.vision.npy" in capsys.readouterr().err


def test_a_failure_of_the_backend_does_not_lose_the_other_samples(
    shared_bundle: Path,
    tmp_path: Path,
    frames: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = Session.predict

    def predict(session: Session, **inputs: Any) -> Prediction:
        if len(inputs["vision"]) == 5:
            raise InferenceError("the backend failed")
        return original(session, **inputs)

    monkeypatch.setattr(Session, "predict", predict)
    for name, count in (("bad", 5), ("good", 4)):
        np.save(tmp_path / f"{name}.vision.npy", frames("vision", count))
    assert main(["predict", str(shared_bundle), "--data", str(tmp_path)]) == 0
    bad, good = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (bad["subset"], bad["warnings"], good["subset"]) == ("", "the backend failed", "v")


@pytest.mark.case("F7")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x.npz", "--text", "hi"], "--data is for many samples"),
        (["--text", "hi", "--output", "out.csv"], "--output and --split are for the samples of --data"),
        (["--text", "i" * 300, "--output", "out.csv"], "--output and --split are for the samples of --data"),
        (["--data", "x.npz", "--output", "out.txt"], "must end in .csv or .json"),
        (["--data", "x.pkl"], "x.pkl does not exist"),
        ([], "or many samples as --data"),
    ],
)
def test_invalid_combinations_are_refused(
    shared_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(shared_bundle), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.case("F7")
def test_texts_need_a_bundle_that_takes_text(
    shared_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("text\nhi\n")
    assert main(["predict", str(shared_bundle), "--data", str(tmp_path / "t.csv")]) == 2
    assert (
        "must have at least one of language, audio, vision, which the bundle takes, got text" in capsys.readouterr().err
    )


def test_features_of_another_extractor_cause_one_warning(
    make_bundle: Callable[..., Path], tmp_path: Path, frames: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_path = make_bundle()
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    modalities["audio"]["features"] = {"extractor": "COVAREP", "rate_hz": 100}
    seal(bundle_path, {"modalities": modalities})
    for features, warnings in (
        (None, 0),
        ({"audio": {"extractor": "covarep", "version": "1.4"}}, 0),
        ({"audio": {"extractor": "librosa", "rate_hz": 50}, "language": {"extractor": "GloVe"}}, 1),
    ):
        data = _archive(tmp_path / "x.npz", frames, features)
        assert main(["predict", str(bundle_path), "--data", str(data)]) == 0
        captured = capsys.readouterr().err
        assert captured.count("warning: x.npz has other features than the model was trained on") == warnings
        assert captured.count("(audio: librosa instead of COVAREP, 50 Hz instead of 100 Hz)") == warnings
