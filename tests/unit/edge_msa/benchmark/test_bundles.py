from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from edge_msa.benchmark import bundles
from edge_msa.errors import BackendUnavailableError, EdgeMsaError
from edge_msa_runtime import InferenceError, Session
from edge_msa_runtime.bundle.loader import open_bundle
from tests.unit.runtime.fake_bundles import write_bundle

SESSION: Any = SimpleNamespace(
    bundle=SimpleNamespace(path=Path("bundle")), backend="onnxruntime", precision="fp32", threads=1
)


def test_a_slow_measurement_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> NoReturn:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(EdgeMsaError, match="bundle with onnxruntime at fp32 in a new process took longer than 600 s"):
        bundles._bench_in_new_process(SESSION)


@pytest.mark.case("F38")
def test_the_error_of_a_measurement_has_no_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    result = subprocess.CompletedProcess([], 4, "", "note: skipped: openvino\nedge-msa-run: No backend.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    with pytest.raises(BackendUnavailableError, match="in a new process failed: No backend"):
        bundles._bench_in_new_process(SESSION)


def test_sessions_are_closed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "bundle", backends=["onnxruntime"], names=["audio"])
    measured: list[Session] = []

    def fail(sessions: list[Session], **_: object) -> None:
        measured.extend(sessions)
        raise InferenceError("out of memory")

    monkeypatch.setattr(bundles, "bench_sessions", fail)
    with pytest.raises(InferenceError, match="out of memory"):
        bundles.bench_bundles([open_bundle(tmp_path / "bundle")])
    (session,) = measured
    assert session._graphs.is_closed
