from __future__ import annotations

import torch

from edge_msa.benchmark.almt import BATCHES, time_almt
from edge_msa.models.almt import AlmtConfig

SMALL = AlmtConfig({"language": 6, "audio": 5, "vision": 3}, {"language": 7, "audio": 11, "vision": 9})


def test_both_ways_are_timed_and_agree() -> None:
    threads = torch.get_num_threads()
    times = time_almt(SMALL, threads=threads + 1, num_runs=2)
    assert [item.batch for item in times] == list(BATCHES)
    assert all(item.every_token > 0 and item.as_run > 0 and item.difference < 1e-5 for item in times)
    assert times[0].ratio == times[0].every_token / times[0].as_run
    assert torch.get_num_threads() == threads
