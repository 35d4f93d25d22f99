from __future__ import annotations

from edge_msa.deployment.graphs import chunk_lengths
from edge_msa_runtime.features import FeatureSource


def test_chunk_is_not_longer_than_the_window() -> None:
    assert chunk_lengths({"language": 20, "audio": 6}) == {"language": 4, "audio": 6}


def test_a_chunk_has_half_a_second_of_frames_where_the_rate_is_known() -> None:
    features = {"audio": FeatureSource("a", rate_hz=100.0), "vision": FeatureSource("v", rate_hz=15.0)}
    assert chunk_lengths({"language": 20, "audio": 400, "vision": 60}, features) == {
        "language": 4,
        "audio": 50,
        "vision": 10,
    }
