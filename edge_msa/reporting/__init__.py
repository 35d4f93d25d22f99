"""Measurements in, one offline page and one terminal table out."""

from edge_msa.reporting.page import Report, build_report, render
from edge_msa.reporting.points import ReportPoint, front_of, pareto_front
from edge_msa.reporting.records import BenchRecord, Records, join_points, read_records, write_records
from edge_msa.reporting.summary import verdicts
from edge_msa.reporting.tradeoff import format_tradeoff

__all__ = [
    "BenchRecord",
    "Records",
    "Report",
    "ReportPoint",
    "build_report",
    "format_tradeoff",
    "front_of",
    "join_points",
    "pareto_front",
    "read_records",
    "render",
    "verdicts",
    "write_records",
]
