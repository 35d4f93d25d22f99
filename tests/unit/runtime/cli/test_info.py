from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.cli.main import main
from edge_msa_runtime.conversation import ContextHead, SubsetContext
from tests.unit.runtime.class_tasks import CLASSES, make_calibration
from tests.unit.runtime.fake_bundles import seal


def test_info_describes_the_bundle(make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(make_bundle(gap_frames=("audio",))), "--json"]) == 0
    out = capsys.readouterr().out
    description = json.loads(out.splitlines()[-1])
    features: dict[str, Any] = {"extractor": "", "version": "", "rate_hz": None, "names": [], "units": []}
    features.update(parameters={}, model_sha256="")
    sizes = {"dim": 2, "chunk": 5, "window": 15}
    assert description["modalities"]["audio"] == {**sizes, "gap_frames": True, "features": features}
    assert not description["modalities"]["vision"]["gap_frames"]
    assert [backend["name"] for backend in description["backends"]] == ["onnxruntime", "openvino"]
    assert "fake for laptop-x86: sentiment (negative, neutral, positive), 13 files" in out


def test_info_states_the_scale_and_the_training_data(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_path = make_bundle()
    task = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["task"]
    data = {"name": "synthetic", "digest": "0"}
    seal(bundle_path, {"task": {**task, "low": -3.0, "high": 3.0}, "provenance": {"data": data}})
    assert main(["info", str(bundle_path)]) == 0
    out = capsys.readouterr().out
    assert ": sentiment from -3 to 3 (negative, neutral, positive), trained on synthetic, " in out


def test_info_names_classes_and_their_calibration(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(make_bundle(task=CLASSES, class_calibration=make_calibration())), "--json"]) == 0
    out = capsys.readouterr().out
    assert "fake for laptop-x86: classes (neutral, happy, sad, angry), " in out
    assert "  probabilities at temperature 2\n" in out
    assert "  prediction sets for coverages from 0.5 to 0.9, calibrated on 120 videos\n" in out
    description = json.loads(out.splitlines()[-1])
    assert description["temperature"] == 2.0
    assert description["prediction_sets"] == {"coverages": [0.5, 0.9], "videos": 120}


def test_info_names_the_conversation_memory(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    head = ContextHead(0.9, 2.0, {"la": SubsetContext(0.0, 1.0, 1.0, 1.0, 0.4, 0.1)}, 229, 10)
    assert main(["info", str(make_bundle(context=head)), "--json"]) == 0
    out = capsys.readouterr().out
    assert "  conversation memory for la, fitted on 229 utterances of 10 videos\n" in out
    assert json.loads(out.splitlines()[-1])["context"] == {"subsets": ["la"], "utterances": 229, "videos": 10}


@pytest.mark.case("F24")
def test_info_names_a_partial_plan(bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle_path / "manifest.json").read_text("utf-8"))
    manifest["int8"] = {"ort-x86-vnni": {"layers": 5, "all_layers": 9, "macs": 0.8199}}
    int8 = [
        {**spec, "precision": "int8", "scheme": "ort-x86-vnni"}
        for spec in manifest["graphs"]
        if spec["backend"] == "onnxruntime"
    ]
    manifest["graphs"] += int8
    (bundle_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    seal(bundle_path)
    assert main(["info", str(bundle_path)]) == 0
    assert "int8: 5 of 9 layers, 81 % of MACs" in capsys.readouterr().out


def test_info_describes_the_text_encoder(
    make_text_bundle: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_text_bundle("table")
    assert main(["info", str(folder), "--json"]) == 0
    out = capsys.readouterr().out
    assert "table encoder, up to 10 tokens" in out
    size = sum(path.stat().st_size for path in (folder / "language").iterdir())
    assert json.loads(out.splitlines()[-1])["language"]["bytes"] == size


@pytest.mark.case("F31")
@pytest.mark.parametrize("command", ["info", "verify", "bench", "build", "predict", "stream", "doctor"])
def test_every_command_notes_ignored_files(
    command: str, bundle_path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (bundle_path / ".DS_Store").touch()
    np.savez(tmp_path / "input.npz", language=np.zeros((3, 4), "f4"))
    options = {
        "bench": ["--repeats", "1", "--warmup", "0", "--processes", "1"],
        "predict": [str(tmp_path / "input.npz")],
        "stream": ["--data", str(tmp_path / "input.npz")],
    }
    assert main([command, str(bundle_path), *options.get(command, [])]) == 0
    assert "note: Ignored, because the manifest does not list them: .DS_Store" in capsys.readouterr().err


def test_info_shows_what_computed_the_features(
    make_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle_path = make_bundle()
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    stated = {"extractor": "COVAREP", "version": "1.4", "rate_hz": 100, "names": ["F0", "VUV"], "units": ["Hz", ""]}
    stated.update({"parameters": {"window_ms": 25}, "model_sha256": "0f" * 32})
    modalities["audio"]["features"] = stated
    seal(bundle_path, {"modalities": modalities})
    assert main(["info", str(bundle_path), "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert json.loads(last)["modalities"]["audio"]["features"] == stated
    assert lines[1].startswith("  language")
    assert lines[2].strip() == "features: unknown"
    assert lines[4].strip() == "features: COVAREP 1.4, 100 Hz, window_ms=25, model 0f0f0f0f0f0f, F0 (Hz) VUV"
