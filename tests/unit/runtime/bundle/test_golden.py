from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from edge_msa_runtime.bundle.golden import GoldenCase, load_golden
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.modalities import Subset

GOLDEN = {"l/language": np.zeros((3, 4), "f4"), "l/prediction": np.zeros(1, "f4")}


def test_every_subset_has_a_case(shared_bundle: Path) -> None:
    cases = load_golden(open_bundle(shared_bundle))
    assert [case.subset for case in cases] == list(Subset)
    assert all(tuple(case.inputs) == case.subset.modalities for case in cases)
    assert cases[0].prediction.shape == (1,)


def test_a_text_replaces_the_frames_of_language() -> None:
    frames = {"language": np.zeros((3, 4)), "audio": np.zeros((2, 2))}
    case = GoldenCase(Subset.LA, frames, np.zeros(1, np.float32), "i love it")
    assert list(case.inputs) == ["text", "audio"]
    assert case.inputs["text"] == "i love it"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"l/prediction": np.zeros(1)}, "has no array l/language"),
        ({"other": np.zeros(1)}, "has no cases"),
        ({"l/prediction": np.array([None])}, "Python objects\\)\\. Export the bundle again"),
        ({**GOLDEN, "l/prediction": np.array([np.nan], "f4")}, "must be finite float32 of shape .1,.*, got float32"),
        ({**GOLDEN, "l/prediction": np.zeros(0, "f4")}, r"got float32 of shape \(0,\)"),
        ({**GOLDEN, "l/prediction": np.zeros((), "f4")}, r"got float32 of shape \(\)"),
        ({**GOLDEN, "l/prediction": np.array(["1"])}, "must be finite float32"),
        ({**GOLDEN, "l/language": np.zeros((0, 4), "f4")}, r"l/language must be finite float32 of shape \(frames, 4\)"),
        ({**GOLDEN, "l/language": np.full((2, 4), np.inf, "f4")}, "l/language must be finite float32"),
        ({**GOLDEN, "l/language": np.zeros((2, 5), "f4")}, r"got float32 of shape \(2, 5\)"),
        ({"a/audio": np.zeros((2, 2), "f4"), "a/prediction": np.zeros(1, "f4")}, "the bundle has no modality audio"),
    ],
)
def test_an_invalid_file_is_refused(
    bundle_path: Path, seal: Callable[..., None], arrays: dict[str, Any], message: str
) -> None:
    np.savez(bundle_path / "golden.npz", **arrays)
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {**files, "golden.npz": file_sha256(bundle_path / "golden.npz")}})
    with pytest.raises(BundleError, match=message):
        load_golden(open_bundle(bundle_path))


def test_a_bundle_without_golden_vectors_is_refused(bundle_path: Path, seal: Callable[..., None]) -> None:
    (bundle_path / "golden.npz").unlink()
    files = json.loads((bundle_path / "manifest.json").read_text("utf-8"))["files"]
    seal(bundle_path, {"files": {name: value for name, value in files.items() if name != "golden.npz"}})
    with pytest.raises(BundleError, match=r"has no golden\.npz"):
        load_golden(open_bundle(bundle_path))
