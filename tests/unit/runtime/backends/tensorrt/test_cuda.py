from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_msa_runtime.backends.tensorrt.cuda import Cuda, available_bytes
from edge_msa_runtime.errors import BackendUnavailableError


def _replace_cuda(monkeypatch: pytest.MonkeyPatch, **calls: object) -> None:
    runtime = SimpleNamespace(**calls)
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=SimpleNamespace(runtime=runtime)))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime))


def test_a_missing_driver_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_cuda(monkeypatch, cudaGetDeviceCount=lambda: (35, 0))
    with pytest.raises(BackendUnavailableError, match="Cannot reach a CUDA driver"):
        Cuda(0)


def test_a_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_cuda(monkeypatch, cudaGetDeviceCount=lambda: (0, 1))
    with pytest.raises(BackendUnavailableError, match=r"GPU:1 does not exist\. This machine has 1 GPU"):
        Cuda(1)


def test_a_missing_cuda_python_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError, match="pip install 'cuda-python<13'"):
        Cuda(0)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="this system has no /proc/meminfo")
def test_available_memory_comes_from_the_system() -> None:
    assert 1 << 20 < (available_bytes() or 0) < 1 << 50
