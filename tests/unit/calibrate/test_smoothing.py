from __future__ import annotations

import numpy as np
import pytest

from edge_msa_calibrate.smoothing import smoothing_factors


def test_factors_equalize_channels_with_geometric_mean_one() -> None:
    channel_ranges = np.array([[-1.0, -0.5, 0.0, 0.0], [0.5, 64.0, 2.0, 0.0]], np.float32)
    factors = smoothing_factors(channel_ranges, exponent=1.0)
    smoothed = np.abs(channel_ranges).max(axis=0) / factors
    assert smoothed[:3] == pytest.approx([smoothed[0]] * 3)
    assert np.isfinite(factors).all()
    assert float(np.exp(np.log(factors).mean())) == pytest.approx(1.0, rel=1e-4)
