"""How often comparisons are right, on samples with the noise of real machines.

The noise was modelled on latencies of a busy two-core machine: processes differ by a few percent because of the layout
of memory, clocks drift, other programs cause bursts, and consecutive samples resemble each other.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_msa_runtime.benchmark.latency_statistics import (
    CANNOT_TELL,
    FASTER,
    SLOWER,
    compare,
    summarize,
)
from edge_msa_runtime.timing import BLOCK_SIZE

Array = NDArray[np.float64]
LOOKS = 2


class NoisyMachine:
    """A machine on which programs run interleaved, in blocks, in fresh processes."""

    def __init__(self, seed: int, *, process: float = 0.01, drift: float = 0.1, burst: float = 0.02) -> None:
        self.random = np.random.default_rng(seed)
        self.process, self.drift, self.burst = process, drift, burst

    def measure(self, slowdowns: list[float], processes: int, samples: int = 200) -> list[list[Array]]:
        """Return the samples of each process of each program, whose p50 is 1 without slow-down."""
        programs: list[list[Array]] = [[] for _ in slowdowns]
        for _ in range(processes):
            blocks = samples // BLOCK_SIZE
            for program, drawn in zip(programs, self._measure_round(slowdowns, blocks)):
                program.append(drawn)
        return programs

    def _measure_round(self, slowdowns: list[float], blocks: int) -> list[Array]:
        layouts = np.exp(self.process * self.random.standard_normal(len(slowdowns)))
        # The clock is a random walk over all blocks of this round.
        steps = self.random.standard_normal(blocks * len(slowdowns)) * self.drift / np.sqrt(blocks * len(slowdowns))
        clock = np.exp(np.cumsum(steps)).reshape(blocks, len(slowdowns))
        return [
            np.concatenate(
                [clock[block, index] * layouts[index] * (1 + slowdown) * self._draw_block() for block in range(blocks)]
            )
            for index, slowdown in enumerate(slowdowns)
        ]

    def _draw_block(self) -> Array:
        white = self.random.standard_normal(BLOCK_SIZE)
        noise = np.empty(BLOCK_SIZE)
        noise[0] = white[0]
        for index in range(1, BLOCK_SIZE):
            noise[index] = 0.6 * noise[index - 1] + 0.8 * white[index]  # autocorrelation 0.6, variance 1
        samples: Array = np.exp(0.03 * noise)
        if self.random.random() < 5 * self.burst:  # another program runs for a part of the block
            first = self.random.integers(BLOCK_SIZE)
            samples[first : first + 8] *= self.random.uniform(1.5, 6.0)
        spikes = self.random.random(BLOCK_SIZE) < self.burst
        samples[spikes] *= self.random.pareto(2.0, int(spikes.sum())) + 1.5
        return samples


def verdict_of(machine: NoisyMachine, slowdown: float) -> str:
    """Return the verdict on the slower of two programs, with more processes if the first look cannot tell."""
    verdict = CANNOT_TELL
    first: list[Array] = []
    second: list[Array] = []
    for _ in range(LOOKS):
        more = machine.measure([0.0, slowdown], processes=5)
        first, second = first + more[0], second + more[1]
        verdict = compare(second, first, looks=LOOKS).verdict
        if verdict != CANNOT_TELL:
            break
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize("process", [0.0, 0.01, 0.02])
def test_equal_programs_rarely_differ(process: float) -> None:
    verdicts = [verdict_of(NoisyMachine(seed, process=process), 0.0) for seed in range(200)]
    alarms = sum(verdict in (FASTER, SLOWER) for verdict in verdicts)
    assert alarms <= 4  # 1 % of 200 are expected at most; more than 4 have a probability of 5 %


@pytest.mark.slow
def test_a_slow_down_of_10_percent_is_found() -> None:
    verdicts = [verdict_of(NoisyMachine(seed), 0.1) for seed in range(100)]
    assert verdicts.count(SLOWER) >= 99
    assert FASTER not in verdicts


@pytest.mark.slow
def test_a_machine_that_is_too_noisy_says_so() -> None:
    verdicts = [verdict_of(NoisyMachine(seed, process=0.2), 0.1) for seed in range(50)]
    assert verdicts.count(CANNOT_TELL) > 25
    assert FASTER not in verdicts


@pytest.mark.slow
@pytest.mark.parametrize(("name", "quantile"), [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)])
def test_intervals_contain_the_true_percentile(name: str, quantile: float) -> None:
    truth = np.quantile(np.concatenate(NoisyMachine(1000).measure([0.0], processes=400)[0]), quantile)
    covered = 0
    for seed in range(100):
        (processes,) = NoisyMachine(seed).measure([0.0], processes=5)
        item = summarize(processes)[name]
        assert item is not None
        assert item.low is not None
        assert item.high is not None
        covered += int(item.low <= truth <= item.high)
    assert covered >= 88  # of 100 intervals of 95 %


@pytest.mark.slow
def test_intervals_of_benchmarks_that_are_repeated_on_a_quiet_machine_overlap() -> None:
    for seed in range(30):
        machine = NoisyMachine(seed, drift=0.02, burst=0.002)
        intervals = [summarize(machine.measure([0.0], processes=5)[0])["p50"] for _ in range(3)]
        lows = [item.low for item in intervals if item is not None and item.low is not None]
        highs = [item.high for item in intervals if item is not None and item.high is not None]
        assert len(lows) == len(highs) == 3
        assert max(lows) <= min(highs)
