from __future__ import annotations

from edge_msa.deployment.graphs import chunk_lengths


def test_chunk_is_not_longer_than_the_window() -> None:
    assert chunk_lengths({"language": 20, "audio": 6}) == {"language": 4, "audio": 6}
