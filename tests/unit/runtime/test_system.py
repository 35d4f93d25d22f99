from __future__ import annotations

from edge_msa_runtime.system import System


def test_a_missing_command_returns_none() -> None:
    assert System().run(["no-such-command-here"]) is None
