from __future__ import annotations

import numpy as np
import pytest

from edge_msa.evaluation.intervals.conformal import half_widths

COVERAGES = (0.5, 0.8, 0.9)


def test_single_samples_give_ordinary_split_conformal() -> None:
    errors = np.arange(1.0, 20.0)  # 19 samples: the k-th smallest error has coverage k / 20
    widths = half_widths(errors, [str(item) for item in errors], (0.05, 0.5, 0.51, 0.95, 0.96))
    assert widths.tolist() == [1.0, 10.0, 11.0, 19.0, np.inf]


def test_too_few_videos_do_not_support_a_high_coverage() -> None:
    errors = np.arange(300.0)
    assert half_widths(errors, ["a", "b", "c"] * 100, (0.7, 0.75, 0.76)).tolist() == [279.0, 299.0, np.inf]
    assert half_widths(errors[:0], [], COVERAGES).tolist() == [np.inf] * 3


def test_every_video_has_the_same_weight() -> None:
    errors = np.concatenate([np.zeros(1000), np.ones(1), np.full(1, 2.0)])
    groups = ["long"] * 1000 + ["short", "other"]
    assert half_widths(errors, groups, (0.25, 0.26, 0.5, 0.51)).tolist() == [0.0, 1.0, 1.0, 2.0]


def test_half_widths_ascend_with_coverage_and_are_not_nan() -> None:
    rng = np.random.default_rng(0)
    coverages = np.linspace(0.01, 0.99, 99)
    widths = half_widths(rng.normal(size=400) ** 2, rng.integers(30, size=400).astype(str), coverages.tolist())
    assert not np.isnan(widths).any()
    assert (np.diff(widths[np.isfinite(widths)]) >= 0).all()
    assert np.isfinite(widths[coverages <= 30 / 31]).all()
    assert np.isinf(widths[coverages > 30 / 31 + 1e-6]).all()


@pytest.mark.parametrize("videos", [12, 40])
def test_new_videos_are_covered_as_stated(videos: int) -> None:
    """Videos differ in their errors and in their number of samples, so samples are far from independent."""
    rng = np.random.default_rng(1)
    trials = 1500

    def draw_video() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.abs(rng.normal(rng.normal(), rng.gamma(2.0), size=rng.integers(1, 20)))

    covered = np.zeros(len(COVERAGES))
    for _ in range(trials):
        errors = [draw_video() for _ in range(videos)]
        groups = np.repeat(np.arange(videos), [len(item) for item in errors]).astype(str)
        covered += rng.choice(draw_video()) <= half_widths(np.concatenate(errors), groups, COVERAGES)
    for coverage, share in zip(COVERAGES, covered / trials, strict=True):
        margin = 3 * np.sqrt(coverage * (1 - coverage) / trials)
        assert coverage - margin <= share <= coverage + 1 / (videos + 1) + margin
