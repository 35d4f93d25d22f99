from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.statistics import Statistics, load_statistics


@pytest.fixture
def statistics(window_graphs: dict[str, Any], window_samples: Callable[[], list[Any]]) -> Statistics:
    return collect_statistics(window_graphs, window_samples())


def test_saved_statistics_load_unchanged(statistics: Statistics, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    statistics.save(path)
    loaded = load_statistics(path)
    assert loaded.samples == statistics.samples
    assert list(loaded.histograms) == list(statistics.histograms)
    for key, histogram in statistics.histograms.items():
        other = loaded.histograms[key]
        assert np.array_equal(histogram.counts, other.counts)
        assert (histogram.limit, histogram.minimum, histogram.maximum) == (other.limit, other.minimum, other.maximum)
    assert [item.name for item in tmp_path.iterdir()] == ["statistics.npz"]


def test_absent_damaged_and_foreign_files_are_rejected(statistics: Statistics, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    with pytest.raises(CalibrationError, match="Cannot load"):
        load_statistics(path)
    statistics.save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CalibrationError, match="Calibrate again"):
        load_statistics(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(CalibrationError, match="is not a statistics file"):
        load_statistics(path)


def test_unwritable_path_is_an_error(statistics: Statistics, tmp_path: Path) -> None:
    (tmp_path / "absent").touch()
    with pytest.raises(CalibrationError, match="Cannot write"):
        statistics.save(tmp_path / "absent" / "statistics.npz")


def test_samples_are_counted_by_subset_and_modality(statistics: Statistics) -> None:
    assert statistics.samples == {"l": 1, "a": 1, "la": 2}
    assert statistics.modality_samples == {"language": 3, "audio": 3}
