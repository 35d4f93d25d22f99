from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.statistics import Statistics, load_statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import Subset


@pytest.fixture
def statistics(window_graphs: Any, window_samples: Callable[[], list[Any]]) -> Statistics:
    return collect_statistics(window_graphs, window_samples())


def test_saved_statistics_load_unchanged(statistics: Statistics, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    statistics.save(path)
    loaded = load_statistics(path)
    assert loaded.samples == statistics.samples
    assert list(loaded.by_graph) == list(statistics.by_graph)
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
    (tmp_path / "file").touch()
    with pytest.raises(CalibrationError, match="Cannot write"):
        statistics.save(tmp_path / "file" / "statistics.npz")


def test_samples_are_counted_by_graph(statistics: Statistics) -> None:
    counts = {Subset.A: 1, Subset.L: 1, Subset.LA: 2}
    assert statistics.samples == {GraphKey.window(subset): count for subset, count in counts.items()}
    assert statistics.count == 4
