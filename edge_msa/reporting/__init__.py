"""Reports of measurements: one HTML page that works offline, and one table for the terminal."""

from edge_msa.reporting.content import Report, collect_figures
from edge_msa.reporting.page import render_report, write_report_page
from edge_msa.reporting.points import ReportPoint, join_points, pareto_front, pareto_front_points
from edge_msa.reporting.summary import summarize
from edge_msa.reporting.tradeoff import format_tradeoff

__all__ = [
    "Report",
    "ReportPoint",
    "collect_figures",
    "format_tradeoff",
    "join_points",
    "pareto_front",
    "pareto_front_points",
    "render_report",
    "summarize",
    "write_report_page",
]
