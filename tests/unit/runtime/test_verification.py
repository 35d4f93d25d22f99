from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.errors import ParityError
from edge_msa_runtime.tolerances import largest_tolerance
from edge_msa_runtime.verification import Check, Verification, verify_bundle
from tests.unit.runtime import fake_bundles, toy_text


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_golden_predictions_match_with_sessions_and_streams(shared_bundle: Path, backend: str) -> None:
    pytest.importorskip(backend)
    verification = verify_bundle(shared_bundle, backend)
    assert verification.passed
    assert len(verification.checks) == 14
    assert verification.largest.difference < 1e-5 * fake_bundles.golden_scale(shared_bundle)
    verification.raise_if_failed()


def test_a_different_prediction_raises_with_its_difference(make_bundle: Callable[..., Path]) -> None:
    verification = verify_bundle(make_bundle(golden_error=0.01, names=("audio",)))
    assert not verification.passed
    with pytest.raises(
        ParityError,
        match=r"subset a \(\w+\) must be within 0\.0001 of torch, got a difference of 0\.01 with onnxruntime on CPU",
    ) as caught:
        verification.raise_if_failed()
    assert caught.value.exit_code == 3


def test_the_tolerance_is_twice_the_parity_of_the_graph(
    make_bundle: Callable[..., Path], seal: Callable[..., None]
) -> None:
    path = make_bundle(golden_error=2.5e-4, names=("audio",))
    _change_graphs(path, seal, lambda graph: {"parity": 1.5e-4 if graph["role"] == "window" else 1e-4})
    assert {check.route: check.passed for check in verify_bundle(path).checks} == {"predict": True, "stream": False}


def _change_graphs(path: Path, seal: Callable[..., None], change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    graphs = [{**graph, **change(graph)} for graph in manifest["graphs"]]
    precision = {graph["backend"]: graph["precision"] for graph in graphs}
    seal(path, {"graphs": graphs, "precision": precision})


@pytest.mark.case("D3")
@pytest.mark.parametrize(
    ("precision", "parity", "share"),
    [
        ("fp32", 1e300, 2e-4),
        ("fp32", 1.7e308, 2e-4),
        ("fp32", 0.01, 2e-4),
        ("fp16", 0.5, 0.02),
        ("int8", 1.0, 0.25),
        ("bf16", 0.01, 2e-4),
    ],
)
def test_a_bundle_cannot_choose_its_own_tolerance(
    make_bundle: Callable[..., Path], seal: Callable[..., None], precision: str, parity: float, share: float
) -> None:
    """The bundle is another model: its predictions are wrong by 5, which the stated parity would allow."""
    path = make_bundle(golden_error=5.0, names=("audio",))
    _change_graphs(path, seal, lambda _: {"parity": parity, "precision": precision})
    verification = verify_bundle(path)
    assert not any(check.passed for check in verification.checks)
    limit = share * min(max(3.0, fake_bundles.golden_scale(path)), 6.0)
    assert [check.tolerance for check in verification.checks] == pytest.approx([limit] * 2)
    with pytest.raises(ParityError, match=r"must be at most .* from the parity in the manifest. Do not use the bundle"):
        verification.raise_if_failed()


@pytest.mark.case("D3")
def test_a_large_parity_fails_even_if_the_predictions_match(
    make_bundle: Callable[..., Path], seal: Callable[..., None]
) -> None:
    path = make_bundle(names=("audio",))
    _change_graphs(path, seal, lambda graph: {"parity": 1.0 if graph["role"] == "fuse" else 1e-6})
    assert {check.route: check.passed for check in verify_bundle(path).checks} == {"predict": True, "stream": False}


@pytest.mark.case("D3")
def test_a_real_int8_difference_is_accepted(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> None:
    path = make_bundle(golden_error=0.06, names=("audio",))
    _change_graphs(path, seal, lambda _: {"parity": 0.054, "precision": "int8"})
    assert verify_bundle(path).passed


@pytest.mark.case("D3")
@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_the_parity_of_a_text_input_is_limited_too(
    make_text_bundle: Callable[[str], Path], seal: Callable[..., None], text_encoder: str
) -> None:
    folder = make_text_bundle(text_encoder)
    fake_bundles.write_golden_text(folder, "i hate it", toy_text.encode_text("i love it", text_encoder))
    language = json.loads((folder / "manifest.json").read_text("utf-8"))["language"]
    seal(folder, {"language": {**language, "parity": 1e9}})
    assert not any(check.passed for check in verify_bundle(folder).checks)


@pytest.mark.case("D3")
@pytest.mark.parametrize(
    ("kind", "predictions", "scale"),
    [
        ("mosi", [], 3.0),
        ("mosi", [4.5], 4.5),
        ("mosi", [1e30], 6.0),
        ("sims", [0.2], 1.0),
        ("emotions", [-9.0], 8.0),
        ("regression", [-50.0, 20.0], 50.0),
    ],
)
def test_the_largest_tolerance_follows_the_scale_of_the_task(kind: str, predictions: list[float], scale: float) -> None:
    task = TaskSpec(kind, 1)
    values = [np.array([value], np.float32) for value in predictions]
    limits = [largest_tolerance(precision, task, values) for precision in ("fp32", "fp16", "int8")]
    assert limits == pytest.approx([2e-4 * scale, 0.02 * scale, 0.25 * scale])


def test_nan_fails_and_is_the_largest_difference() -> None:
    checks = (
        Check("l", "predict", 0.5, 1.0, 1.0),
        Check("a", "predict", math.nan, 1.0, 1.0),
        Check("v", "stream", 0.1, 1.0, 1.0),
    )
    verification = Verification("onnxruntime", "CPU", "fp32", checks)
    assert not verification.passed
    assert verification.largest.subset == "a"


@pytest.mark.parametrize("text_encoder", ["table", "encoder"])
def test_a_golden_text_is_predicted_from_the_text(make_text_bundle: Callable[[str], Path], text_encoder: str) -> None:
    folder = make_text_bundle(text_encoder)
    text = "i love the films"
    fake_bundles.write_golden_text(folder, text, toy_text.encode_text(text, text_encoder))
    verification = verify_bundle(folder)
    assert verification.passed
    assert [check.route for check in verification.checks] == ["predict", "stream"]
    fake_bundles.write_golden_text(folder, "i hate it", toy_text.encode_text(text, text_encoder))
    assert not verify_bundle(folder).passed


def test_several_streams_at_once_are_verified(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> None:
    path = make_bundle(batch=4, names=("language", "audio"), backends=("onnxruntime",))
    verification = verify_bundle(path)
    assert verification.passed
    assert {check.route for check in verification.checks} == {"predict", "stream", "streams"}
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    files = {graph["batch"]: graph["file"] for graph in manifest["graphs"] if graph["role"] == "fuse"}
    model = onnx.load(path / files[4])
    for tensor in model.graph.initializer:
        if tensor.name == "audio.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
    onnx.save(model, path / files[4])
    seal(path, {"files": {**manifest["files"], files[4]: file_sha256(path / files[4])}})
    failed = {(check.subset, check.route) for check in verify_bundle(path).checks if not check.passed}
    assert failed == {("a", "streams"), ("la", "streams")}
