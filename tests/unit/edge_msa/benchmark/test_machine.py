from __future__ import annotations

import pytest

from edge_msa.benchmark.machine import matches_profile


@pytest.mark.parametrize(
    ("machine", "architecture", "matches"),
    [("AMD64", "x86_64", True), ("arm64", "x86_64", False), ("arm64", "any", True), ("x86_64", "any", True)],
)
def test_a_profile_for_any_processor_matches_every_machine(
    machine: str, architecture: str, matches: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert matches_profile({"architecture": architecture}) is matches
