from __future__ import annotations

from edge_msa.deployment.lint_report import summarize_warnings
from edge_msa_export.lint import ERROR, NOTE, WARNING, LintFinding


def finding(rule: str, severity: str) -> LintFinding:
    return LintFinding(rule, severity, "node", "message", "document")


def test_warnings_are_counted_by_rule_in_one_line() -> None:
    rules = ("int8-small", "int8-vector", "int8-small")
    line = summarize_warnings([finding(rule, WARNING) for rule in rules])
    assert line is not None
    assert "3 patterns" in line
    assert "int8-small 2, int8-vector 1" in line
    assert "\n" not in line


def test_summary_without_warnings_is_none() -> None:
    assert summarize_warnings([finding("strong-typing", NOTE), finding("operator", ERROR)]) is None


def test_summary_of_dla_warnings_names_the_option() -> None:
    assert "inspect BUNDLE --dla" in str(summarize_warnings([finding("dla-operator", WARNING)]))
