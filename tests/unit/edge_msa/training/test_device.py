from __future__ import annotations

import pytest
import torch

from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.training.device import resolve_device


def test_auto_is_the_cpu_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"


def test_cuda_without_a_gpu_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendUnavailableError, match="--device cpu") as caught:
        resolve_device("cuda")
    assert caught.value.exit_code == 4


def test_unknown_device_raises_an_error() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda, got 'gpu'"):
        resolve_device("gpu")
