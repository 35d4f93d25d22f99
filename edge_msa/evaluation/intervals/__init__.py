"""Prediction intervals and prediction sets: their calibration on validation, and their coverage on another split."""

from edge_msa.evaluation.intervals.calibrate import (
    ValidationOutputs,
    calibrate_intervals,
    calibrate_sets,
    collect_outputs,
)
from edge_msa.evaluation.intervals.conformal import half_widths
from edge_msa.evaluation.intervals.frame_loss import lose_frames
from edge_msa.evaluation.intervals.quality import CoverageLevel, StatedIntervals, format_quality, measure_quality

__all__ = [
    "CoverageLevel",
    "StatedIntervals",
    "ValidationOutputs",
    "calibrate_intervals",
    "calibrate_sets",
    "collect_outputs",
    "format_quality",
    "half_widths",
    "lose_frames",
    "measure_quality",
]
