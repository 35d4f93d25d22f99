"""Prediction intervals from `export` to a device: in bundles of frames, of a table and of a text encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.golden import load_golden
from tests.integration.conftest import Command

ExportedBundle = Callable[[str, str], Path]


@pytest.mark.parametrize(
    "name", ["table", *(pytest.param(name, marks=pytest.mark.slow) for name in ("streams", "encoder"))]
)
def test_a_bundle_has_intervals_of_every_variant_and_subset(exported_bundle: ExportedBundle, name: str) -> None:
    bundle = exported_bundle("laptop-x86", name)
    with emr.load(bundle, coverage=0.25) as session:
        intervals = session.manifest.intervals
        assert intervals is not None
        assert set(intervals.half_widths) == set(session.manifest.backends)
        cases = load_golden(session.bundle)
        for precisions in intervals.half_widths.values():
            assert "fp32" in precisions
            for subsets in precisions.values():
                assert set(subsets) == {case.subset.value for case in cases}
        for case in cases:
            prediction = session.predict(**case.inputs)
            assert prediction.interval is not None
            low, high = prediction.interval
            assert -3 <= low <= (prediction.score or 0) <= high <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "encoder"])
def test_evaluate_drops_words_of_texts(
    exported_bundle: ExportedBundle, calibrated_run: Callable[[str], Path], name: str, edge_msa: Command
) -> None:
    bundle, data = exported_bundle("laptop-x86", name), calibrated_run(name).parent / "transcripts.csv"
    result = edge_msa("evaluate", bundle, "--data", data, "--missing-frames", "--json")
    assert result.code == 0, result.err
    measured = json.loads(result.out)["prediction_intervals"]
    assert set(measured) >= {"complete", "missing frames"}
    assert 0 <= measured["missing frames"]["l"][0]["observed"] <= 1


def test_missing_frames_need_intervals(small_runs: Path, edge_msa: Command) -> None:
    result = edge_msa("evaluate", small_runs / "teacher", "--data", small_runs / "good.npz", "--missing-frames")
    assert result.code == 2
    assert "--missing-frames measures prediction intervals, which" in result.error_line
    assert "does not have" in result.error_line
    assert not result.out
