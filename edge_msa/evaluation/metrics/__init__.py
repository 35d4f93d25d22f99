"""Metrics in NumPy: one family per task, baselines, bootstrap intervals over videos, and comparisons of methods."""

from edge_msa.evaluation.metrics.baselines import (
    BEST_CONSTANT,
    FROM_TRAINING,
    MEDIAN,
    baseline_constants,
    better_baseline,
    constant_predictions,
    describe_constant,
    measure_constants,
)
from edge_msa.evaluation.metrics.bootstrap import (
    Interval,
    bootstrap_interval,
    has_signal,
    mean_interval,
    prediction_correlation,
    ratio_interval,
)
from edge_msa.evaluation.metrics.comparison import (
    MIN_UNITS,
    Comparison,
    Estimate,
    Method,
    average_estimates,
    compare_methods,
    compare_paired,
    describe_coverage,
    estimate_metrics,
    seed_interval,
)
from edge_msa.evaluation.metrics.families import (
    confusion_matrix,
    gate_metric,
    gate_points,
    measure,
    metric_functions,
    missing_average,
)
from edge_msa.evaluation.metrics.names import MetricName, describe
from edge_msa.evaluation.metrics.units import Unit, Units

__all__ = [
    "BEST_CONSTANT",
    "FROM_TRAINING",
    "MEDIAN",
    "MIN_UNITS",
    "Comparison",
    "Estimate",
    "Interval",
    "Method",
    "MetricName",
    "Unit",
    "Units",
    "average_estimates",
    "baseline_constants",
    "better_baseline",
    "bootstrap_interval",
    "compare_methods",
    "compare_paired",
    "confusion_matrix",
    "constant_predictions",
    "describe",
    "describe_constant",
    "describe_coverage",
    "estimate_metrics",
    "gate_metric",
    "gate_points",
    "has_signal",
    "mean_interval",
    "measure",
    "measure_constants",
    "metric_functions",
    "missing_average",
    "prediction_correlation",
    "ratio_interval",
    "seed_interval",
]
