from __future__ import annotations

import itertools

from edge_msa_export.lint.rule import SEVERITIES, Rule
from edge_msa_export.lint.rules import RULES
from tests.locations import REPOSITORY


def test_every_rule_has_a_requirement_and_a_document() -> None:
    for rule in RULES:
        assert rule.severity in SEVERITIES
        assert rule.requirement
        assert rule.document.startswith(("http", "docs/", "CONTRIBUTING"))
        assert rule.since < rule.until


def test_rules_of_one_name_have_disjoint_versions() -> None:
    by_name: dict[str, list[Rule]] = {}
    for rule in RULES:
        if rule.backends == ("tensorrt",):
            by_name.setdefault(rule.name, []).append(rule)
    assert len(by_name) > 25
    for rules in by_name.values():
        ordered = sorted(rules, key=lambda rule: rule.since)
        assert all(before.until <= after.since for before, after in itertools.pairwise(ordered))


def test_documentation_lists_every_rule() -> None:
    text = (REPOSITORY / "docs" / "reference" / "compatibility.md").read_text(encoding="utf-8")
    assert {rule.name for rule in RULES if f"`{rule.name}`" not in text} == set()
