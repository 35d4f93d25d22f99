"""`edge-msa export --sign`, and what a device accepts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edge_msa as em
from edge_msa_runtime.bundle.signature import verify_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Command

EXPORT = ("--target", "laptop", "--max-drop", "100", "--allow-worse-than-constant")


@pytest.mark.slow
def test_export_signs_the_bundle(
    calibrated_run: Callable[[str], Path], edge_msa: Command, edge_msa_run: Command, tmp_path: Path
) -> None:
    key, bundle = em.keygen(tmp_path / "key.pem"), tmp_path / "bundle"
    line = ("export", calibrated_run("table"), *EXPORT, "--sign", key.path, "--output-dir", bundle)
    result = edge_msa(*line)
    assert result.code == 0, result.err
    first = verify_signature(bundle, [key.public]).release
    assert first.name == "bundle"
    result = edge_msa_run("verify", bundle, "--trusted-keys", key.public, "--minimum-version", str(first.version))
    assert result.code == 0, result.err
    assert "Signed with key.pem.pub" in result.out
    assert edge_msa(*line).code == 0
    assert verify_signature(bundle, [key.public]).release.version >= first.version


def test_export_checks_the_key_before_slow_work(edge_msa: Command, tmp_path: Path) -> None:
    result = edge_msa(
        "export", tmp_path / "none", *EXPORT, "--sign", tmp_path / "key.pem", "--output-dir", tmp_path / "x"
    )
    assert result.code == 2
    assert "Cannot read the key" in result.err
