from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import BackendUnavailableError, BundleError, Session, UsageError, load
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.modalities import MODALITIES, Subset

LENGTHS = {"language": 9, "audio": 13, "vision": 7}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def session(request: pytest.FixtureRequest, shared_bundle: Path) -> Iterator[Session]:
    pytest.importorskip(request.param)
    with load(shared_bundle, request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def one(shared_bundle: Path) -> Session:
    return load(shared_bundle)


@pytest.mark.parametrize("subset", list(Subset))
def test_every_subset_reads_as_the_reference_does(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any], subset: Subset
) -> None:
    given = {name: frames(name, LENGTHS[name]) for name in subset.modalities}
    prediction = session.predict(**given)
    assert prediction.score == pytest.approx(expected(given)[0], abs=1e-5)
    assert (prediction.subset, prediction.backend, prediction.device) == (subset.value, session.backend, "CPU")
    assert prediction.precision == "fp32"
    assert 0 < prediction.milliseconds < 10_000
    assert prediction.outputs == (prediction.score,)


def test_a_shorter_utterance_after_a_longer_one_meets_no_trace_of_it(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    for count in (12, 3, 7, 1, 30, 2):  # 30 is longer than the window, and goes over the step graphs
        given = {"language": frames("language", count, seed=count)}
        assert session.predict(**given).score == pytest.approx(expected(given)[0], abs=1e-5)


def test_the_shortest_window_graph_that_holds_the_frames_reads_them(
    make_bundle: Callable[..., Path],
    frames: Callable[..., Any],
    expected: Callable[..., Any],
    seal: Callable[..., None],
) -> None:
    folder = make_bundle(names=("language",))
    graphs: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text("utf-8"))["graphs"]
    seal(folder, {"graphs": [graph for graph in graphs if graph["file"] != "graphs/window-l.onnx"]})
    with load(folder) as session:
        for count in (1, 5):
            given = {"language": frames("language", count)}
            assert session.predict(**given).score == pytest.approx(expected(given)[0], abs=1e-5)
        short = session.load_milliseconds
        session.predict(language=frames("language", 6))  # only the steps are left to read it
        assert session.load_milliseconds > short


def test_a_masked_frame_leaves_no_trace_whatever_it_holds(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    raw = frames("audio", 11)
    mask = np.arange(11) % 3 != 1
    spoilt = raw.copy()
    spoilt[~mask] = np.nan
    prediction = session.predict(audio=spoilt, valid={"audio": mask})
    assert prediction.score == pytest.approx(expected({"audio": raw[mask]})[0], abs=1e-5)


@pytest.mark.parametrize("absent", [np.zeros((0, 2), "f4"), None])
def test_a_modality_without_a_frame_is_absent(one: Session, frames: Callable[..., Any], absent: Any) -> None:
    alone = one.predict(language=frames("language", 5))
    assert one.predict(language=frames("language", 5), audio=absent).outputs == alone.outputs


def test_a_modality_that_is_all_masked_is_absent_and_one_of_zeros_is_not(
    one: Session, frames: Callable[..., Any]
) -> None:
    language, zeros = frames("language", 5), np.zeros((6, 2), "f4")
    alone = one.predict(language=language)
    masked = one.predict(language=language, audio=zeros, valid={"audio": np.zeros(6, bool)})
    assert (masked.subset, masked.outputs) == ("l", alone.outputs)
    assert one.predict(language=language, audio=zeros).outputs != alone.outputs


@pytest.mark.parametrize("kind", ["f8", "f2", "i4"])
def test_other_real_numbers_are_taken(one: Session, frames: Callable[..., Any], kind: str) -> None:
    given = np.round(frames("vision", 4)).astype(kind)
    assert one.predict(vision=given).outputs == one.predict(vision=given.astype("f4")).outputs
    assert one.predict(vision=given.tolist()).outputs == one.predict(vision=given.astype("f4")).outputs


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no valid frame in any modality"),
        ({"language": np.zeros((0, 4))}, "no valid frame in any modality"),
        ({"language": np.zeros((3, 5), "f4")}, r"language has shape \(3, 5\), wanted is \(frames, 4\)"),
        ({"audio": np.zeros(2)}, r"audio has shape \(2,\)"),
        ({"audio": np.array([["a", "b"]])}, "audio has type <U1"),
        ({"audio": [[1.0, 2.0], [1.0]]}, "audio is no array"),
        ({"audio": [[1e300, 0.0]]}, "audio is inf at frame 0, feature 0"),
        ({"audio": np.zeros((3, 2)), "valid": {"audio": np.ones(2, bool)}}, r"mask of audio is bool \(2,\)"),
        ({"audio": np.zeros((3, 2)), "valid": {"audio": np.ones(3)}}, "mask of audio is float64"),
        ({"audio": np.zeros((3, 2)), "valid": {"vision": np.ones(3, bool)}}, "mask for 'vision'"),
        ({"audio": np.zeros((3, 2)), "valid": {"sound": np.ones(3, bool)}}, "mask for 'sound'"),
    ],
)
def test_what_does_not_fit_is_refused(one: Session, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        one.predict(**given)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38, -1e31])
def test_a_value_that_is_not_finite_or_too_large_is_named_by_frame_and_feature(
    one: Session, frames: Callable[..., Any], value: float
) -> None:
    raw = frames("vision", 6)
    raw[1, 0] = np.nan  # masked, so it is not this one
    raw[4, 2] = value
    mask = np.array([True, False, True, True, True, True])
    with pytest.raises(
        UsageError, match=re.escape(f"vision is {value:g} at frame 4, feature 2, wanted are numbers within 1e+30; ")
    ):
        one.predict(vision=raw, valid={"vision": mask})


def test_the_caller_s_arrays_are_left_alone(one: Session, frames: Callable[..., Any]) -> None:
    raw = frames("language", 6)
    kept = raw.copy()
    one.predict(language=raw)
    one.create_stream().push(language=raw)
    np.testing.assert_array_equal(raw, kept)


def test_a_modality_that_the_bundle_lacks_is_refused(
    make_bundle: Callable[..., Path], frames: Callable[..., Any]
) -> None:
    session = load(make_bundle(names=("language", "audio")))
    with pytest.raises(UsageError, match="vision was given, this bundle reads language, audio"):
        session.predict(vision=frames("vision", 2))
    with pytest.raises(UsageError, match="reads language, audio, not vision"):
        session.prepare("lav")
    with pytest.raises(UsageError, match="unknown subset 'x'"):
        session.prepare("x")


def test_without_window_graphs_the_steps_read(
    make_bundle: Callable[..., Path], frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    given = {name: frames(name, LENGTHS[name]) for name in MODALITIES}
    prediction = load(make_bundle(windows=False)).predict(**given)
    assert prediction.score == pytest.approx(expected(given)[0], abs=1e-5)


def test_emotions_give_a_probability_each(
    make_bundle: Callable[..., Path], frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    path = make_bundle(task=TaskSpec("emotions", 2, ("happy", "sad")), names=("language",))
    given = {"language": frames("language", 8)}
    prediction = load(path).predict(**given)
    logits = expected(given, 2)
    assert prediction.score is None
    assert prediction.probabilities == pytest.approx(dict(zip(("happy", "sad"), 1 / (1 + np.exp(-logits)))))
    assert prediction.label == ("happy", "sad")[int(np.argmax(logits))]


def test_graphs_are_loaded_when_first_asked_for_and_time_is_counted(shared_bundle: Path) -> None:
    with load(shared_bundle) as session:
        before = session.load_milliseconds
        session.prepare(Subset.L)
        after = session.load_milliseconds
        session.prepare("l")
        assert 0 < before < after == session.load_milliseconds


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)


@pytest.mark.usefixtures("no_tensorrt")
def test_auto_takes_the_first_backend_there_is_and_says_what_it_passed_over(make_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("openvino")
    path = make_bundle(backends=("tensorrt", "openvino", "onnxruntime"))
    session = load(path)
    assert session.backend == "openvino"
    assert "Cannot import tensorrt" in session.passed_over[0]


@pytest.mark.usefixtures("no_tensorrt")
def test_strict_refuses_any_backend_but_the_first(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"))
    with pytest.raises(BackendUnavailableError, match="sudo apt-get install tensorrt"):
        load(path, strict=True)
    assert load(path, "onnxruntime", strict=True).backend == "onnxruntime"


@pytest.mark.usefixtures("no_tensorrt")
def test_a_precision_that_only_a_missing_backend_has_is_that_backend_s_absence(
    make_bundle: Callable[..., Path], seal: Callable[..., None]
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    half = [{**graph, "precision": "fp16"} for graph in graphs if graph["backend"] == "tensorrt"]
    seal(path, {"graphs": graphs + half})
    with pytest.raises(BackendUnavailableError, match="Cannot import tensorrt"):
        load(path, precision="fp16")
    with pytest.raises(UsageError, match="no graphs at 'int8' for onnxruntime, only fp32"):
        load(path, precision="int8")


def test_strict_refuses_a_graph_on_another_device(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, frames: Callable[..., Any]
) -> None:
    from edge_msa_runtime.backends import onnxruntime_backend

    made = onnxruntime_backend._OnnxRuntimeProgram

    def elsewhere(session: Any) -> Any:
        program = made(session)
        program.device = "GPU"
        return program

    monkeypatch.setattr(onnxruntime_backend, "_OnnxRuntimeProgram", elsewhere)
    with pytest.raises(BackendUnavailableError, match="must run on CPU, but onnxruntime runs it on GPU"):
        load(shared_bundle, strict=True).predict(language=frames("language", 3))
    assert load(shared_bundle).predict(language=frames("language", 3)).device == "GPU"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "onnxruntme"}, "Did you mean 'onnxruntime'"),
        ({"backend": "tensorrt"}, "this bundle is for onnxruntime, openvino, not for tensorrt"),
        ({"precision": "int8"}, "no graphs at 'int8' for onnxruntime, only fp32"),
        ({"threads": 0}, "threads must be between 1 and 256, got 0"),
    ],
)
def test_an_option_that_the_bundle_cannot_honour_is_refused(
    shared_bundle: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        load(shared_bundle, **options)


def test_a_graph_of_other_shapes_than_the_manifest_says_is_refused(
    bundle_path: Path, seal: Callable[..., None], frames: Callable[..., Any]
) -> None:
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    modalities["language"]["window"] = 99
    seal(bundle_path, {"modalities": modalities})
    with pytest.raises(
        BundleError, match=r"frames\.language of graphs/window-l\.onnx must have shape \(1, 99, 4\), got \(1, 12, 4\)"
    ):
        load(bundle_path).predict(language=frames("language", 8))
