from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_msa.benchmark.peers import latency_ratio, published_almt


def interleaved(medians: tuple[float, float], blocks: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return times of two methods whose machine is slower in some blocks."""
    generator = np.random.default_rng(seed)
    slow = np.repeat(generator.choice([1.0, 2.0], blocks), 20)
    first, second = (median * slow * generator.lognormal(0, 0.1, 20 * blocks) for median in medians)
    return first, second


@pytest.mark.slow
def test_the_interval_of_a_ratio_contains_the_truth_on_a_machine_whose_speed_changes() -> None:
    ratios = [latency_ratio(*interleaved((3.0, 2.0), 40, seed)) for seed in range(40)]
    covering = sum(ratio.low <= 1.5 <= ratio.high for ratio in ratios if ratio.low and ratio.high)

    assert covering >= 34


@pytest.mark.slow
def test_two_equal_methods_have_a_ratio_whose_interval_contains_one() -> None:
    ratios = [latency_ratio(*interleaved((1.0, 1.0), 20, seed)) for seed in range(40)]

    assert sum(ratio.low <= 1.0 <= ratio.high for ratio in ratios if ratio.low and ratio.high) >= 34


def test_a_ratio_of_few_predictions_has_no_interval() -> None:
    times = np.array([1.0, 2.0, 3.0])

    ratio = latency_ratio(2 * times, times)

    assert (ratio.value, ratio.low, ratio.high) == (2.0, None, None)


def test_published_almt_needs_all_modalities(tmp_path: Path) -> None:
    contender = published_almt({"language": 4}, {"language": 5}, 1, tmp_path / "almt", threads=1)

    assert not contender.calls
    assert contender.note == "needs language, audio and vision, got language"


@pytest.mark.slow
def test_published_almt_without_weights_has_a_size_and_can_be_timed(tmp_path: Path) -> None:
    dims, lengths = dict.fromkeys(("language", "audio", "vision"), 3), dict.fromkeys(("language", "audio", "vision"), 4)

    contender = published_almt(dims, lengths, 1, tmp_path / "almt", threads=1)
    contender.calls[0]()

    assert contender.scores is None
    assert (contender.size_bytes or 0) > 1_000_000
    assert "random weights" in contender.note
