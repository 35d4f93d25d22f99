"""Measurements in, one offline page and one terminal table out."""

from edge_msa.reporting.page import Report, build_report, render
from edge_msa.reporting.points import ReportPoint, front_of, join_points, pareto_front
from edge_msa.reporting.summary import verdicts
from edge_msa.reporting.tradeoff import format_tradeoff

__all__ = [
    "Report",
    "ReportPoint",
    "build_report",
    "format_tradeoff",
    "front_of",
    "join_points",
    "pareto_front",
    "render",
    "verdicts",
]
