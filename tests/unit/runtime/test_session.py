from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest

from edge_msa_runtime import BackendUnavailableError, BundleError, Session, UsageError, load
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.inputs.validation import MAX_NORM_RATIO
from edge_msa_runtime.modalities import MODALITIES, Subset
from tests.tolerances import assert_close_to_scale
from tests.unit.runtime import fake_bundles

LENGTHS = {"language": 9, "audio": 13, "vision": 7}


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def session(request: pytest.FixtureRequest, shared_bundle: Path) -> Iterator[Session]:
    """A session for each backend."""
    pytest.importorskip(request.param)
    with load(shared_bundle, request.param) as opened:
        yield opened


@pytest.fixture(scope="module")
def cpu_session(shared_bundle: Path) -> Iterator[Session]:
    """A session of ONNX Runtime, for what does not depend on the backend."""
    with load(shared_bundle, "onnxruntime") as opened:
        yield opened


@pytest.mark.parametrize("subset", list(Subset))
def test_every_subset_gives_the_reference_prediction(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any], subset: Subset
) -> None:
    inputs = {name: frames(name, LENGTHS[name]) for name in subset.modalities}
    prediction = session.predict(**inputs)
    assert_close_to_scale(prediction.score, expected(inputs)[0])
    assert (prediction.subset, prediction.backend, prediction.device) == (subset.value, session.backend, "CPU")
    assert prediction.precision == "fp32"
    assert prediction.latency_ms > 0
    assert prediction.outputs == (prediction.score,)


def test_earlier_longer_inputs_do_not_change_the_prediction(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    for count in (12, 3, 7, 1, 30, 2):  # 30 frames exceed the window, so they take the step graphs
        inputs = {"language": frames("language", count, seed=count)}
        assert_close_to_scale(session.predict(**inputs).outputs, expected(inputs))


def test_the_shortest_window_graph_that_fits_is_used(
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
            inputs = {"language": frames("language", count)}
            assert_close_to_scale(session.predict(**inputs).outputs, expected(inputs))
        load_ms = session.load_ms
        session.predict(language=frames("language", 6))  # exceeds the short window, so the step graphs are loaded
        assert session.load_ms > load_ms


def test_masked_frames_do_not_change_the_prediction(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    raw = frames("audio", 11)
    mask = np.arange(11) % 3 != 1
    invalid = raw.copy()
    invalid[~mask] = np.nan
    prediction = session.predict(audio=invalid, valid={"audio": mask})
    assert_close_to_scale(prediction.outputs, expected({"audio": raw[mask]}))


@pytest.mark.parametrize("absent", [np.zeros((0, 2), "f4"), None])
def test_a_modality_without_frames_is_absent(cpu_session: Session, frames: Callable[..., Any], absent: Any) -> None:
    alone = cpu_session.predict(language=frames("language", 5))
    assert cpu_session.predict(language=frames("language", 5), audio=absent).outputs == alone.outputs


def test_all_masked_is_absent_but_zeros_are_not(cpu_session: Session, frames: Callable[..., Any]) -> None:
    language, zeros = frames("language", 5), np.zeros((6, 2), "f4")
    alone = cpu_session.predict(language=language)
    masked = cpu_session.predict(language=language, audio=zeros, valid={"audio": np.zeros(6, bool)})
    assert (masked.subset, masked.outputs) == ("l", alone.outputs)
    assert cpu_session.predict(language=language, audio=zeros).outputs != alone.outputs


@pytest.mark.parametrize(("inputs", "reason"), [({}, ""), ({"language": np.zeros((0, 4))}, ": 0 frames in language")])
def test_no_valid_frame_is_a_usage_error(cpu_session: Session, inputs: dict[str, Any], reason: str) -> None:
    message = f"No modality has a valid frame{reason}. Pass at least one of language, audio, vision"
    with pytest.raises(UsageError, match=message):
        cpu_session.predict(**inputs)


def test_the_caller_s_arrays_are_not_modified(cpu_session: Session, frames: Callable[..., Any]) -> None:
    raw = frames("language", 6)
    before = raw.copy()
    cpu_session.predict(language=raw)
    cpu_session.create_stream().push("language", raw)
    np.testing.assert_array_equal(raw, before)


def test_prepare_refuses_unknown_and_missing_modalities(make_bundle: Callable[..., Path]) -> None:
    with load(make_bundle(names=("language", "audio"))) as session:
        with pytest.raises(UsageError, match=r"This bundle has no modality vision. Available: language, audio"):
            session.prepare("lav")
        with pytest.raises(UsageError, match=r"Unknown subset 'x'. Available: l, a, v"):
            session.prepare("x")


def test_prepare_runs_all_programs_once(make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_msa_runtime.backends import onnxruntime_backend

    runs: list[object] = []
    program_class = onnxruntime_backend._OnnxRuntimeProgram
    run = program_class.run

    def count(program: Any) -> None:
        runs.append(program)
        run(program)

    monkeypatch.setattr(program_class, "run", count)
    with load(make_bundle(), backend="onnxruntime", workers=2) as session:
        session.prepare("a")
        session.prepare()
    assert len(runs) == len(set(map(id, runs))) > 0
    assert len(runs) % 2 == 0


def test_prepare_without_subsets_loads_all_graphs(make_bundle: Callable[..., Path], frames: Callable[..., Any]) -> None:
    names = ("language", "audio")
    with load(make_bundle(names=names)) as session:
        session.prepare()
        before = session.load_ms
        for subset in (Subset.L, Subset.A, Subset.LA):
            session.predict(**{name: frames(name, 3) for name in subset.modalities})
            stream = session.create_stream()
            for name in subset.modalities:
                stream.push(name, frames(name, 3))
            stream.predict()
        assert session.load_ms == before


def test_a_bundle_without_window_graphs_uses_step_graphs(
    make_bundle: Callable[..., Path], frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    inputs = {name: frames(name, LENGTHS[name]) for name in MODALITIES}
    with load(make_bundle(windows=False)) as session:
        assert_close_to_scale(session.predict(**inputs).outputs, expected(inputs))


def test_emotions_have_one_probability_each(
    make_bundle: Callable[..., Path], frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    inputs = {"language": frames("language", 8)}
    with load(make_bundle(task=TaskSpec("emotions", 2, ("happy", "sad")), names=("language",))) as session:
        prediction = session.predict(**inputs)
    logits = expected(inputs, 2)
    assert prediction.score is None
    assert prediction.probabilities == pytest.approx(dict(zip(("happy", "sad"), 1 / (1 + np.exp(-logits)))))
    assert prediction.label == ("happy", "sad")[int(np.argmax(logits))]


def test_graphs_are_loaded_once(shared_bundle: Path) -> None:
    with load(shared_bundle) as session:
        before = session.load_ms
        session.prepare(Subset.L)
        after = session.load_ms
        session.prepare("l")
        assert 0 < before < after == session.load_ms


@pytest.fixture
def no_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import tensorrt` fail on an x86 machine, where pip would install it."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setitem(sys.modules, "tensorrt", None)


@pytest.mark.usefixtures("no_tensorrt")
def test_auto_opens_the_first_available_backend(make_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("openvino")
    with load(make_bundle(backends=("tensorrt", "openvino", "onnxruntime"))) as session:
        assert session.backend == "openvino"
        assert "pip install 'tensorrt>=" in session.fallbacks[0]


@pytest.mark.case("F36")
@pytest.mark.usefixtures("no_tensorrt")
def test_a_fallback_to_another_backend_is_logged(
    make_bundle: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    with load(make_bundle(backends=("tensorrt", "onnxruntime"))) as session:
        (message,) = session.fallbacks
    assert message.startswith("using onnxruntime instead of tensorrt: Cannot import tensorrt")
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("edge_msa_runtime", "WARNING", message)
    ]


@pytest.mark.case("F36")
def test_a_backend_without_the_requested_precision_is_a_fallback(
    make_bundle: Callable[..., Path], seal: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"), names=("audio",))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    seal(
        path,
        {"graphs": [*graphs, *({**item, "precision": "fp16"} for item in graphs if item["backend"] != "tensorrt")]},
    )
    with load(path, precision="fp16") as session:
        assert session.fallbacks == ("using onnxruntime instead of tensorrt: The bundle has no fp16 graphs for it.",)
    assert caplog.messages == list(session.fallbacks)


@pytest.mark.usefixtures("no_tensorrt")
def test_strict_refuses_any_backend_but_the_first(make_bundle: Callable[..., Path]) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"))
    with pytest.raises(BackendUnavailableError, match="pip install 'tensorrt>="):
        load(path, strict=True)
    with load(path, "onnxruntime", strict=True) as session:
        assert session.backend == "onnxruntime"


@pytest.mark.usefixtures("no_tensorrt")
def test_a_precision_of_a_missing_backend_is_unavailable(
    make_bundle: Callable[..., Path], seal: Callable[..., None]
) -> None:
    path = make_bundle(backends=("tensorrt", "onnxruntime"))
    graphs = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    fp16_graphs = [{**graph, "precision": "fp16"} for graph in graphs if graph["backend"] == "tensorrt"]
    seal(path, {"graphs": graphs + fp16_graphs})
    with pytest.raises(BackendUnavailableError, match="pip install 'tensorrt>="):
        load(path, precision="fp16")
    with pytest.raises(UsageError, match=r"This bundle has no int8 graphs for onnxruntime. Available: fp32"):
        load(path, precision="int8")


def test_strict_refuses_a_graph_on_another_device(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch, frames: Callable[..., Any]
) -> None:
    from edge_msa_runtime.backends import onnxruntime_backend

    program_class = onnxruntime_backend._OnnxRuntimeProgram

    def on_gpu(session: Any) -> Any:
        program = program_class(session)
        program.device = "GPU"
        return program

    monkeypatch.setattr(onnxruntime_backend, "_OnnxRuntimeProgram", on_gpu)
    with pytest.raises(BackendUnavailableError, match="must run on CPU, but onnxruntime runs it on GPU"):
        load(shared_bundle, strict=True).predict(language=frames("language", 3))
    with load(shared_bundle) as session:
        for _ in range(2):
            assert session.predict(language=frames("language", 3)).device == "GPU"
        assert session.fallbacks == ("onnxruntime runs on GPU instead of CPU",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "onnxruntme"}, "'onnxruntime'"),
        ({"backend": "tensorrt"}, "This bundle has no graphs for tensorrt. Available: onnxruntime, openvino"),
        ({"precision": "int8"}, "This bundle has no int8 graphs for onnxruntime. Available: fp32"),
        ({"threads": 0}, "threads"),
    ],
)
def test_an_unusable_option_is_a_usage_error(shared_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(shared_bundle, **options)


def test_a_graph_with_other_shapes_than_the_manifest_is_refused(
    bundle_path: Path, seal: Callable[..., None], frames: Callable[..., Any]
) -> None:
    modalities = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["modalities"]
    modalities["language"]["window"] = 99
    seal(bundle_path, {"modalities": modalities})
    with load(bundle_path) as session, pytest.raises(
        BundleError,
        match=r"Input frames\.language of graphs/window-l\.onnx must have shape \(1, 99, 4\), got \(1, 12, 4\)",
    ):
        session.predict(language=frames("language", 8))


@pytest.mark.case("F15")
def test_values_far_out_of_range_are_clipped_with_a_warning(
    session: Session, frames: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    warning = ("audio: values far out of the range seen in training were clipped",)
    for count in (LENGTHS["audio"], 40):  # 40 frames exceed the window, so they take the step graphs
        language, audio = frames("language", LENGTHS["language"]), frames("audio", count)
        assert session.predict(language=language, audio=audio).warnings == ()
        for far in (audio * np.float32(100), np.where(np.arange(count)[:, None] == 3, np.float32(-1e30), audio)):
            prediction = session.predict(language=language, audio=far)
            assert prediction.warnings == warning
            assert_close_to_scale(prediction.outputs, expected({"language": language, "audio": far}))
        masked = np.arange(count) != 3
        assert session.predict(audio=far, valid={"audio": masked}).warnings == ()


@pytest.mark.case("F15")
def test_values_slightly_out_of_range_give_no_warning(session: Session, frames: Callable[..., Any]) -> None:
    audio = frames("audio", LENGTHS["audio"])
    audio[4] = fake_bundles.HIGH["audio"] * np.float32(1.2)
    assert session.predict(audio=audio).warnings == ()
    limit = MAX_NORM_RATIO * fake_bundles.MAX_NORMS["audio"]
    for norm, far in ((0.99, False), (1.01, True)):  # all frames with nearly the largest norm without a warning
        level = np.float32(norm * limit / np.sqrt(audio.shape[1]))
        assert bool(session.predict(audio=np.full_like(audio, level)).warnings) == far


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 1.5}, "workers must be a whole number, got 1.5"),
        ({"threads": "2"}, "threads must be a whole number, got '2'"),
        ({"backend": None}, "backend must be a text, got None"),
        ({"device": 0}, "device must be a text, got 0"),
        ({"backend": "tpu"}, r"Unknown backend 'tpu'\. Available: onnxruntime, openvino\."),
        ({"bundle": None}, "The bundle must be the path of a folder, got None"),
        ({"bundle": b"."}, "The bundle must be the path of a folder, got b'.'"),
        ({"bundle": ""}, "The bundle must be the path of a folder, got ''"),
    ],
)
def test_load_refuses_a_wrong_argument_in_one_line(shared_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(**{"bundle": shared_bundle, **options})


def test_load_names_a_manifest_that_was_passed_instead_of_its_folder(shared_bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"manifest\.json' is a file\. Pass the folder that contains"):
        load(shared_bundle / "manifest.json")


def test_names_may_be_in_upper_or_lower_case(shared_bundle: Path) -> None:
    with load(shared_bundle, "OnnxRuntime", precision="FP32", device="cpu") as session:
        assert (session.backend, session.precision, session.device) == ("onnxruntime", "fp32", "CPU")
        session.prepare("al")


def test_an_unknown_device_is_not_explained_with_backends_that_are_not_installed(
    shared_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_backend(name: str, options: Any) -> Any:
        if name == "onnxruntime":
            raise BackendUnavailableError(f"no device {options.device}")
        raise PackageImportError(f"{name} is not installed", name, name)

    monkeypatch.setattr("edge_msa_runtime.loading.open_backend", open_backend)
    with pytest.raises(BackendUnavailableError, match=r"^no device XPU$"):
        load(shared_bundle, device="XPU")


def test_the_repr_of_a_stream_omits_what_is_older_than_max_age(
    cpu_session: Session, frames: Callable[..., Any]
) -> None:
    now = [0.0]
    stream = cpu_session.create_stream(max_age=1.0, clock=lambda: now[0])
    stream.push("audio", frames("audio", 3))
    assert repr(stream) == "<Stream with a>"
    now[0] = 2.0
    assert repr(stream) == "<Stream with no frames>"
    assert stream.subset == ""


def test_reprs_say_what_sessions_bundles_and_streams_are(shared_bundle: Path, frames: Callable[..., Any]) -> None:
    with load(shared_bundle, "onnxruntime") as opened:
        name, target = opened.manifest.name, opened.manifest.target
        assert repr(opened) == f"<Session {name}: onnxruntime fp32{f' on {opened.device}' * bool(opened.device)}, lav>"
        assert repr(opened.bundle).startswith(f"<Bundle {name} for {target}: ")
        stream = opened.create_stream()
        assert repr(stream) == "<Stream with no frames>"
        stream.push("audio", frames("audio", 3))
        stream.push("language", frames("language", 2))
        assert repr(stream) == "<Stream with la>"
    assert repr(opened).endswith(", lav, closed>")
