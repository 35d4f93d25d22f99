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


@pytest.mark.parametrize(("value", "threads"), [("4,2", 4), ("2", 2), ("", 1)])
def test_nested_thread_counts_are_accepted(value: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", requested.append)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    resolve_device("cpu")
    assert requested == [threads]


def test_a_thread_count_that_is_no_number_raises_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(UsageError, match=r"a comma-separated list, got 'many'\. Set it to a number"):
        resolve_device("cpu")
