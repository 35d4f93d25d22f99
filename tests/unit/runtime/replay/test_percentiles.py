from __future__ import annotations

import numpy as np
import pytest

from edge_msa_runtime.replay.percentiles import Percentiles


def test_percentiles_are_exact_to_1_percent() -> None:
    durations = np.random.default_rng(0).lognormal(0, 2, 20_000)
    percentiles = Percentiles()
    for duration in durations:
        percentiles.add(float(duration))
    for share in (0.01, 0.5, 0.9, 0.99):
        assert percentiles.percentile(share) == pytest.approx(np.quantile(durations, share), rel=0.011)
    assert percentiles.largest_ms == durations.max()
    assert percentiles.count_up_to(1.0) == pytest.approx((durations <= 1).sum(), rel=0.02)


def test_without_durations_there_are_no_percentiles() -> None:
    assert Percentiles().to_json() == {"p50": None, "p90": None, "p99": None, "max": None}


def test_extreme_durations_are_counted() -> None:
    percentiles = Percentiles()
    for duration in (0.0, 1e12):
        percentiles.add(duration)
    assert percentiles.count == 2
    assert percentiles.percentile(0.5) is not None
