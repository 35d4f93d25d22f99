from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.precisions import PrecisionChoice
from edge_msa.errors import UsageError
from edge_msa.workflows.data import convert_data
from edge_msa.workflows.export import _advice_for_int8, _describe_failure, _unknown_features, bundle_name, export
from edge_msa_export.profiles import find_profile
from edge_msa_runtime.features import FeatureSource
from tests.unit.edge_msa.toy_runs import write_dataset, write_teacher


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write_dataset(tmp_path / "all.npz")


@pytest.mark.parametrize(("target", "name"), [("laptop", "bundle-laptop"), ("boards/mini-pc.toml", "bundle-mini-pc")])
def test_a_bundle_has_the_name_of_its_target_by_default(target: str, name: str) -> None:
    assert bundle_name(target) == name


def test_the_gate_failure_names_the_precision_of_the_backend_that_failed() -> None:
    choices = (
        PrecisionChoice("onnxruntime", "int8", "requested", ("int8",)),
        PrecisionChoice("openvino", "fp32", "int8 loses 3 points", ("fp32",), "openvino int8 loses 3 points"),
    )
    failure = _describe_failure(choices)
    assert failure == "openvino int8 loses 3 points. The bundle contains fp32 for openvino, the best that passed"
    assert _describe_failure(choices[:1]) == ""


def test_a_rejected_int8_has_the_command_that_finds_the_layers(data: str, tmp_path: Path) -> None:
    run, profile = load_run(write_teacher(tmp_path / "calibrated", data)), find_profile("laptop-x86")
    choice = PrecisionChoice("openvino", "fp32", "int8 rejected: loses 3 points", ("fp32",), rejected=("int8",))
    (note,) = _advice_for_int8(run, profile, [choice])
    assert f"edge-msa sensitivity {run.path} --target laptop-x86 --output-dir mixed" in note
    assert not list(_advice_for_int8(run, profile, [replace(choice, rejected=("fp16",))]))


def test_one_note_for_all_modalities_says_how_to_state_unknown_features(data: str, tmp_path: Path) -> None:
    run = load_run(write_teacher(tmp_path / "a student", data))
    features = {"language": FeatureSource("GloVe"), "audio": FeatureSource(rate_hz=100.0)}
    options = {
        "--target": "laptop-x86",
        "--data": None,
        "--precision": "auto",
        "--max-drop": "2",
        "--ir": True,
        "--dla": False,
    }
    (note,) = _unknown_features(features, run, options)
    assert note.startswith("audio, vision: the bundle does not state what computes these features")
    assert "in a TOML file, [audio] [vision] with extractor = ..." in note
    command = shlex.split(note.partition("run: ")[2])
    assert command[:5] == ["edge-msa", "export", str(run.path), "--target", "laptop-x86"]
    assert command[5:] == ["--max-drop", "2", "--ir", "--features", "features.toml", "--overwrite"]


def test_features_that_contradict_the_run_are_refused_before_slow_work(data: str, tmp_path: Path) -> None:
    statement = tmp_path / "features.toml"
    statement.write_text('[audio]\nextractor = "COVAREP"\n')
    convert_data(data, output=tmp_path / "covarep.npz", features=statement)
    run = write_student(write_teacher(tmp_path / "run", str(tmp_path / "covarep.npz")))
    statement.write_text('[audio]\nextractor = "librosa"\n')
    with pytest.raises(UsageError, match=r"contradicts .*run \(audio: librosa instead of COVAREP\)"):
        export(run, target="laptop-x86", output_dir=tmp_path / "bundle", features=statement)
    assert not (tmp_path / "bundle").exists()


def write_student(run: Path) -> Path:
    """Turn the run of a toy teacher into that of a student."""
    info = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps({**info, "kind": "student"}), encoding="utf-8")
    return run
