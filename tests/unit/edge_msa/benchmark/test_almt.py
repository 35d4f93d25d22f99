from __future__ import annotations

import torch

from edge_msa.benchmark.almt import BATCHES, compute_every_token, measure_almt
from edge_msa.models.almt import Almt, AlmtConfig

SMALL = AlmtConfig({"language": 6, "audio": 5, "vision": 3}, {"language": 7, "audio": 11, "vision": 9})


def test_both_computations_are_measured_and_agree() -> None:
    latencies = measure_almt(SMALL, threads=torch.get_num_threads(), num_runs=2)
    assert [item.batch for item in latencies] == list(BATCHES)
    assert all(item.every_token_ms > 0 and item.optimized_ms > 0 for item in latencies)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = Almt(SMALL).eval()
        frames = {name: torch.randn(8, SMALL.lengths[name], dim) for name, dim in SMALL.dims.items()}
        valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
        torch.testing.assert_close(compute_every_token(network, frames), network(frames, valid))
    assert all(item.max_difference < 1e-3 for item in latencies)
    assert latencies[0].speedup == latencies[0].every_token_ms / latencies[0].optimized_ms


def test_the_number_of_torch_threads_is_restored() -> None:
    threads = torch.get_num_threads()
    measure_almt(SMALL, threads=threads + 1, num_runs=1)
    assert torch.get_num_threads() == threads
