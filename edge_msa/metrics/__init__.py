"""Metrics of the field, pure NumPy: families by task, floors, bootstrap intervals over videos."""

from edge_msa.metrics.families import gate_metric, gate_points, measure, metrics_of, missing_average
from edge_msa.metrics.floors import (
    BEST_CONSTANT,
    LEARNED_NOTHING,
    constant_readings,
    describe_constant,
    floor_constants,
    floors,
)
from edge_msa.metrics.names import MetricName, describe
from edge_msa.metrics.resample import (
    Interval,
    bootstrap_interval,
    carries_signal,
    mean_difference,
    mean_interval,
    paired_difference,
    reading_correlation,
)

__all__ = [
    "BEST_CONSTANT",
    "LEARNED_NOTHING",
    "Interval",
    "MetricName",
    "bootstrap_interval",
    "carries_signal",
    "constant_readings",
    "describe",
    "describe_constant",
    "floor_constants",
    "floors",
    "gate_metric",
    "gate_points",
    "mean_difference",
    "mean_interval",
    "measure",
    "metrics_of",
    "missing_average",
    "paired_difference",
    "reading_correlation",
]
