from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.bundle.golden import verify_bundle
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.errors import BundleError, ParityError


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_golden_predictions_come_back_whole_and_streamed(shared_bundle: Path, backend: str) -> None:
    pytest.importorskip(backend)
    found = verify_bundle(shared_bundle, backend)
    assert found.passed
    assert len(found.checks) == 14
    assert max(check.difference for check in found.checks) < 1e-5
    found.require()


def test_another_prediction_is_named_with_its_distance(make_bundle: Callable[..., Path]) -> None:
    found = verify_bundle(make_bundle(golden_error=0.01, names=("audio",)))
    assert not found.passed
    with pytest.raises(
        ParityError, match=r"onnxruntime on CPU at fp32 reads a \(\w+\) 0\.01 away from torch"
    ) as caught:
        found.require()
    assert caught.value.exit_code == 3


def test_the_bound_follows_the_parity_of_the_graph(make_bundle: Callable[..., Path], seal: Callable[..., None]) -> None:
    path = make_bundle(golden_error=0.01, names=("audio",))
    graphs: list[dict[str, Any]] = json.loads((path / "manifest.json").read_text("utf-8"))["graphs"]
    for graph in graphs:
        graph["parity"] = 0.006 if graph["role"] == "window" else 0.004
    seal(path, {"graphs": graphs})
    assert {check.route: check.passed for check in verify_bundle(path).checks} == {"predict": True, "stream": False}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"l/prediction": np.zeros(1)}, "lacks l/language"),
        ({"other": np.zeros(1)}, "no case"),
        ({"l/prediction": np.array([None])}, "cannot be read"),
    ],
)
def test_golden_vectors_of_another_layout_are_refused(
    bundle_path: Path, seal: Callable[..., None], arrays: dict[str, Any], said: str
) -> None:
    np.savez(bundle_path / "golden.npz", **arrays)
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, "golden.npz": file_sha256(bundle_path / "golden.npz")}})
    with pytest.raises(BundleError, match=said):
        verify_bundle(bundle_path)


def test_a_bundle_without_golden_vectors_cannot_be_verified(bundle_path: Path, seal: Callable[..., None]) -> None:
    (bundle_path / "golden.npz").unlink()
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {name: value for name, value in files.items() if name != "golden.npz"}})
    with pytest.raises(BundleError, match=r"has no golden\.npz"):
        verify_bundle(bundle_path)
