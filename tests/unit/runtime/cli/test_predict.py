from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime import Prediction, Session, load
from edge_msa_runtime.cli.main import main


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
