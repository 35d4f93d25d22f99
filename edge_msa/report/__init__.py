"""Measurements in, one offline page and one terminal table out."""

from edge_msa.report.page import Report, build_report, render
from edge_msa.report.points import ReportPoint, front_of, pareto_front
from edge_msa.report.records import BenchRecord, Records, join_points, read_records, write_records
from edge_msa.report.tradeoff import format_tradeoff
from edge_msa.report.verdict import verdicts

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
