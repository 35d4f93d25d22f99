from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Callable

import pytest

from edge_msa_runtime.errors import ParityError
from edge_msa_runtime.verification import Check, Verification, verify_bundle
from tests.unit.runtime import fake_bundles, toy_text


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_golden_predictions_match_with_sessions_and_streams(shared_bundle: Path, backend: str) -> None:
    pytest.importorskip(backend)
    verification = verify_bundle(shared_bundle, backend)
    assert verification.passed
    assert len(verification.checks) == 14
    assert verification.largest.difference < 1e-5
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
    path = make_bundle(golden_error=0.01, names=("audio",))
    graphs: list[dict[str, Any]] = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    for graph in graphs:
        graph["parity"] = 0.006 if graph["role"] == "window" else 0.004
    seal(path, {"graphs": graphs})
    assert {check.route: check.passed for check in verify_bundle(path).checks} == {"predict": True, "stream": False}


def test_nan_fails_and_is_the_largest_difference() -> None:
    checks = (Check("l", "predict", 0.5, 1.0), Check("a", "predict", math.nan, 1.0), Check("v", "stream", 0.1, 1.0))
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
