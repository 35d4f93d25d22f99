"""Percentiles of latencies with confidence intervals, outliers, and the comparison of two interleaved measurements.

Latencies of one process are not independent: clocks, caches and other programs change slowly. Processes differ too,
because the layout of memory differs. All functions therefore take one array per process and keep the order in time.

- Intervals are block bootstraps: processes are drawn with replacement, then blocks of consecutive samples within each
  (Künsch 1989, "The jackknife and the bootstrap for general stationary observations"). Few processes show too little
  variance between them, so intervals are widened by the ratio of the quantiles of Student's t and the normal
  distribution. A bootstrap draws no sample above the largest one, so the interval of a percentile also includes that of
  the order statistics, with the variance of the counts per block (binomial interval with overdispersion).
- A percentile needs enough samples (MLPerf Inference Rules, "Early Stopping": 64 for the 90th, 662 for the 99th).
- Outliers are classified by Tukey's fences, as in Criterion.rs.
- Comparisons use the ratio of medians of interleaved blocks, which drift affects equally.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from edge_msa_runtime.timing import BLOCK_SIZE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

PERCENTILES: Mapping[str, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
DISTRIBUTION = tuple(step / 20 for step in range(21))
"""Quantiles that describe a distribution: the minimum, every 5 %, and the maximum."""
MIN_PROCESSES = 5
"""Processes that intervals should be computed from."""

FASTER, SLOWER, NO_DIFFERENCE, CANNOT_TELL = "faster", "slower", "no difference", "cannot tell"
MARGIN = 0.02
"""Ratios within this share of 1 count as no difference."""
_FALSE_ALARMS = 0.01  # probability that a comparison finds a difference between equal programs
_CONFIDENCE = 0.95
_NORMAL = 1.959964  # quantile 0.975 of the normal distribution
_RESAMPLES = 500
_SAMPLES_AT_ONCE = 200_000  # of the bootstrap, to limit its memory


@dataclasses.dataclass(frozen=True)
class Measured:
    """A measured value and the interval around it.

    Attributes:
        value: the value.
        low: lower end of the interval; None if there is no interval, for example because there was one process.
        high: upper end of the interval.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Outliers:
    """Numbers of samples beyond Tukey's fences of their process.

    A sample is a mild outlier if it is more than 1.5, and a severe one if it is more than 3 interquartile ranges below
    the first or above the third quartile. Outliers are counted, never removed.

    Attributes:
        low_severe: far below the first quartile.
        low_mild: below the first quartile.
        high_mild: above the third quartile.
        high_severe: far above the third quartile.
    """

    low_severe: int = 0
    low_mild: int = 0
    high_mild: int = 0
    high_severe: int = 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The latency of one program divided by that of another, from interleaved samples.

    Attributes:
        verdict: `faster`, `slower`, `no difference` (the whole interval is within 2 % of 1), or `cannot tell`.
        ratio: ratio of the medians. Equal programs have an interval that excludes 1 in at most 1 % of comparisons.
        processes: number of processes of each program.
    """

    verdict: str
    ratio: Measured
    processes: int


@functools.lru_cache(maxsize=None)
def min_samples(quantile: float) -> int:
    """Return how many samples a percentile needs.

    It is the smallest n for which at most one of n samples exceeds the true percentile with a probability of at most
    1 % (MLPerf Inference Rules, "Early Stopping"): 11 for p50, 64 for p90, 130 for p95, 662 for p99.

    Args:
        quantile: the percentile as a share, between 0 and 1.
    """
    n = 1
    while quantile**n + n * (1 - quantile) * quantile ** (n - 1) > 0.01:
        n += 1
    return n


def summarize(processes: Sequence[ArrayLike], seed: int = 0) -> dict[str, Measured | None]:
    """Return p50, p90, p95, p99, mean and max of the samples of all processes.

    The intervals have a confidence of 95 %. There are none for one process, for fewer than 11 samples, and for the
    maximum, which has no such interval. A percentile above the median that has fewer samples than `min_samples` is
    None.

    Args:
        processes: the samples of each process in order of time, arrays (n,). Empty ones are ignored.
        seed: seed of the bootstrap.

    Raises:
        ValueError: there is no sample, or one is not finite.
    """
    arrays = _check_samples(processes)
    pooled = np.concatenate(arrays)
    allowed = {name: q for name, q in PERCENTILES.items() if name == "p50" or len(pooled) >= min_samples(q)}
    quantiles = list(allowed.values())
    values = [*np.quantile(pooled, quantiles), pooled.mean()]
    names = [*allowed, "mean"]
    if len(arrays) > 1 and len(pooled) >= min_samples(PERCENTILES["p50"]):
        ends = _bootstrap(arrays, quantiles, np.random.default_rng(seed))
        ranks = np.array([_order_statistics(arrays, quantile) for quantile in quantiles])
        ends[:-1, 0] = np.minimum(ends[:-1, 0], ranks[:, 0])
        ends[:-1, 1] = np.maximum(ends[:-1, 1], ranks[:, 1])
        measured = {
            name: _widen(float(value), float(low), float(high), len(arrays))
            for name, value, (low, high) in zip(names, values, ends)
        }
    else:
        measured = {name: Measured(float(value)) for name, value in zip(names, values)}
    summary: dict[str, Measured | None] = {name: measured.get(name) for name in PERCENTILES}
    return {**summary, "mean": measured["mean"], "max": Measured(float(pooled.max()))}


def find_distribution(processes: Sequence[ArrayLike]) -> list[float]:
    """Return the quantiles 0, 0.05, ..., 1 of the samples of all processes, 21 numbers.

    Raises:
        ValueError: there is no sample, or one is not finite.
    """
    return [float(value) for value in np.quantile(np.concatenate(_check_samples(processes)), DISTRIBUTION)]


def count_outliers(processes: Sequence[ArrayLike]) -> Outliers:
    """Classify the samples of each process by its own fences, and return the counts of all processes.

    Raises:
        ValueError: there is no sample, or one is not finite.
    """
    counts = np.zeros(4, dtype=int)
    for samples in _check_samples(processes):
        first, third = np.quantile(samples, [0.25, 0.75])
        width = third - first
        fences = [first - 3 * width, first - 1.5 * width, third + 1.5 * width, third + 3 * width]
        severe_low, low, high, severe_high = fences
        counts += [
            int((samples < severe_low).sum()),
            int(((samples >= severe_low) & (samples < low)).sum()),
            int(((samples > high) & (samples <= severe_high)).sum()),
            int((samples > severe_high).sum()),
        ]
    return Outliers(*(int(count) for count in counts))


def spread_of(values: Sequence[float]) -> Measured | None:
    """Return the median of one value per process, with the lowest and highest; None without values.

    For five processes, the range contains the median of all processes with a probability of 94 % (1 - 2 / 2**5).
    """
    if not values:
        return None
    return Measured(float(np.median(values)), float(min(values)), float(max(values)))


def compare(first: Sequence[ArrayLike], second: Sequence[ArrayLike], looks: int = 1) -> Comparison:
    """Compare the latency of `first` with that of `second`: `slower` means that `first` takes longer.

    Sample i of both was measured at nearly the same time. For each process, the logarithms of the ratios of the medians
    of their blocks are computed. Their median is one observation. The interval is that of Student's t for the mean of
    the processes.

    Args:
        first: samples of each process of one program, interleaved with those of `second`, arrays (n,).
        second: samples of each process of the other program, of the same lengths.
        looks: how often the same comparison is made while samples are added. Each look then may only find a share of
            the false alarms.

    Raises:
        ValueError: the numbers of processes or samples differ, a sample is not finite and positive, or there is none.
    """
    ours, others = _check_samples(first), _check_samples(second)
    if [len(samples) for samples in ours] != [len(samples) for samples in others]:
        raise ValueError("Both programs must have the same number of samples in every process.")
    if any((samples <= 0).any() for samples in (*ours, *others)):
        raise ValueError("Samples must be positive.")
    logs = [float(np.median(_block_log_ratios(one, other))) for one, other in zip(ours, others)]
    count, center = len(logs), float(np.mean(logs))
    if count < 2:
        return Comparison(CANNOT_TELL, Measured(math.exp(center)), count)
    probability = 1 - _FALSE_ALARMS / looks / 2
    width = student_t(probability, count - 1) * float(np.std(logs, ddof=1)) / math.sqrt(count)
    # Beyond this, exp overflows; the interval is as wide as any.
    low, high = (math.exp(min(max(end, -50.0), 50.0)) for end in (center - width, center + width))
    return Comparison(_verdict(low, high), Measured(math.exp(center), low, high), count)


def is_steady(samples: ArrayLike, window: int = BLOCK_SIZE) -> bool:
    """Return whether a warm-up has reached a steady state.

    The last three windows of consecutive samples are compared: the last with the one before, and that with the one
    before it. The state is steady if neither pair differs: either Mann and Whitney's rank sum test finds no difference
    (two-sided, 5 %), or the medians differ by at most 2 %.

    Args:
        samples: latencies since the start, in order of time, (n,).
        window: samples in one window, at least 1.

    Returns:
        False also if there are fewer samples than three windows.
    """
    values = np.asarray(samples, dtype=np.float64)
    if len(values) < 3 * window:
        return False
    oldest, middle, newest = values[-3 * window :].reshape(3, window)
    return _are_alike(oldest, middle) and _are_alike(middle, newest)


def student_t(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution.

    Args:
        probability: of being below the quantile, above 0.5 and below 1.
        degrees: degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while _t_cdf(high, degrees) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _t_cdf(t: float, degrees: int) -> float:
    """Return the distribution function for t of at least 0 (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total = (cosine if degrees % 2 else 1.0), 0.0
    for k in range(1 + degrees % 2, degrees, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = 2 / math.pi * (angle + sine * total) if degrees % 2 else sine * total
    return 0.5 + inside / 2


def _verdict(low: float, high: float) -> str:
    if high <= 1 + MARGIN and low >= 1 / (1 + MARGIN):
        return NO_DIFFERENCE
    if low > 1:
        return SLOWER
    return FASTER if high < 1 else CANNOT_TELL


def _check_samples(processes: Sequence[ArrayLike]) -> list[Array]:
    arrays = [np.asarray(samples, dtype=np.float64) for samples in processes]
    arrays = [samples for samples in arrays if samples.size]
    if not arrays:
        raise ValueError("There must be at least one sample.")
    if not all(np.isfinite(samples).all() for samples in arrays):
        raise ValueError("Samples must be finite.")
    return arrays


def _bootstrap(arrays: Sequence[Array], quantiles: Sequence[float], random: np.random.Generator) -> Array:
    """Return the 2.5 and 97.5 % quantiles of the bootstrapped percentiles and mean, (len(quantiles) + 1, 2).

    Each process that is drawn gives blocks that start anywhere. Its first sample follows its last.
    """
    flat, lengths = np.concatenate(arrays), np.array([len(samples) for samples in arrays])
    offsets = np.cumsum(lengths) - lengths
    blocks = max(1, round(float(lengths.mean()) / BLOCK_SIZE))
    size = min(BLOCK_SIZE, math.ceil(float(lengths.mean())))
    drawn = np.empty((_RESAMPLES, len(quantiles) + 1))
    step = max(1, _SAMPLES_AT_ONCE // len(flat))
    for first in range(0, _RESAMPLES, step):
        rows = drawn[first : first + step]
        chosen = random.integers(len(arrays), size=(len(rows), len(arrays), 1, 1))
        starts = (random.random((len(rows), len(arrays), blocks, 1)) * lengths[chosen]).astype(int)
        indexes = offsets[chosen] + (starts + np.arange(size)) % lengths[chosen]
        samples = flat[indexes.reshape(len(rows), -1)]
        rows[:, :-1] = np.quantile(samples, quantiles, axis=1).T
        rows[:, -1] = samples.mean(axis=1)
    tail = (1 - _CONFIDENCE) / 2
    ends: Array = np.quantile(drawn, [tail, 1 - tail], axis=0).T
    return ends


def _order_statistics(arrays: Sequence[Array], quantile: float) -> tuple[float, float]:
    """Return the samples between whose ranks the true percentile is.

    The number of samples below a percentile is binomial if samples are independent. Its variance is multiplied by that
    of the counts per block, relative to independent samples.
    """
    pooled = np.sort(np.concatenate(arrays))
    value = np.quantile(pooled, quantile)
    blocks = [block for one in arrays for block in np.array_split(one, max(1, len(one) // BLOCK_SIZE))]
    counts = np.array([(block > value).sum() for block in blocks])
    independent = np.mean([len(block) for block in blocks]) * quantile * (1 - quantile)
    excess = max(1.0, float(counts.var(ddof=1)) / float(independent)) if len(blocks) > 1 else 1.0
    center, width = len(pooled) * quantile, _NORMAL * math.sqrt(len(pooled) * quantile * (1 - quantile) * excess)
    low, high = math.floor(center - width) - 1, math.ceil(center + width)
    return float(pooled[max(0, low)]), float(pooled[min(len(pooled) - 1, high)])


def _widen(value: float, low: float, high: float, processes: int) -> Measured:
    """Widen an interval by what drawing from few processes loses."""
    factor = student_t(0.5 + _CONFIDENCE / 2, processes - 1) / _NORMAL * math.sqrt(processes / (processes - 1))
    low, high = min(low, value), max(high, value)
    if low <= 0:
        return Measured(value, low, high)
    # On a logarithmic scale, so that no end becomes negative.
    return Measured(value, value * (low / value) ** factor, value * (high / value) ** factor)


def _block_log_ratios(one: Array, other: Array) -> Array:
    count = max(1, len(one) // BLOCK_SIZE)
    blocks = zip(np.array_split(one, count), np.array_split(other, count))
    return np.array([math.log(np.median(ours) / np.median(others)) for ours, others in blocks])


def _are_alike(one: Array, other: Array) -> bool:
    medians = float(np.median(one)), float(np.median(other))
    if abs(medians[0] - medians[1]) <= MARGIN * min(medians):
        return True
    # The normal approximation of the rank sum, with ranks of equal values averaged.
    wins = float(np.sign(one[:, None] - other[None, :]).sum()) / 2
    total = len(one) + len(other)
    deviation = math.sqrt(len(one) * len(other) * (total + 1) / 12)
    return abs(wins) <= _NORMAL * deviation
