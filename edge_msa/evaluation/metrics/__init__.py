"""Metrics of the field, pure NumPy: families by task, baselines, bootstrap intervals over videos."""

from edge_msa.evaluation.metrics.baselines import (
    BEST_CONSTANT,
    MEDIAN,
    baseline_constants,
    baselines,
    constant_predictions,
    describe_constant,
)
from edge_msa.evaluation.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    carries_signal,
    mean_difference,
    mean_interval,
    paired_difference,
    prediction_correlation,
)
from edge_msa.evaluation.metrics.families import gate_metric, gate_points, measure, metrics_of, missing_average
from edge_msa.evaluation.metrics.names import MetricName, describe

__all__ = [
    "BEST_CONSTANT",
    "MEDIAN",
    "Interval",
    "MetricName",
    "baseline_constants",
    "baselines",
    "bootstrap_interval",
    "carries_signal",
    "constant_predictions",
    "describe",
    "describe_constant",
    "gate_metric",
    "gate_points",
    "mean_difference",
    "mean_interval",
    "measure",
    "metrics_of",
    "missing_average",
    "paired_difference",
    "prediction_correlation",
]
