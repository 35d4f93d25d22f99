from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from edge_msa.benchmark import bundles
from edge_msa.errors import BackendUnavailableError, EdgeMsaError

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
    result = subprocess.CompletedProcess([], 4, "", "note: skipped: openvino\nerror: No backend.\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    with pytest.raises(BackendUnavailableError, match="in a new process failed: No backend"):
        bundles._bench_in_new_process(SESSION)
