from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_msa.benchmark import throughput
from edge_msa.benchmark.throughput import (
    NO_GPU,
    Throughput,
    available_hardware,
    available_models,
    format_throughput,
    measure_throughput,
)
from edge_msa.training.context import Hardware

CPU = Throughput("hrlf", "robust", 128, "CPU", "32", compiled=False, samples_per_second=500.0)
GPU = Throughput("hrlf", "robust", 128, "Some GPU", "bf16", compiled=True, samples_per_second=5000.0)


@pytest.mark.parametrize("model", ["hrlf", "almt", "text"])
def test_throughput_counts_samples_of_complete_steps(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"language": (4, 6), "audio": (5, 3), "vision": (3, 2)}
    monkeypatch.setattr(throughput, "SHAPES", {"hrlf": small, "almt": small})
    encoder = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    monkeypatch.setattr(throughput, "TEXT_ENCODER", encoder)
    result = measure_throughput(Hardware("cpu"), model, seconds=0)
    assert (result.device, result.precision, result.compiled) == ("CPU", "32", False)
    assert np.isfinite(result.samples_per_second)
    assert result.samples_per_second > 0


def test_only_the_cpu_is_measured_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert {hardware.device for hardware in available_hardware()} == {"cpu"}


def test_a_cpu_with_bf16_is_measured_in_both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(throughput, "cpu_has_bf16", lambda: True)
    assert [hardware.precision for hardware in available_hardware()] == ["32", "bf16"]
    monkeypatch.setattr(throughput, "cpu_has_bf16", lambda: False)
    assert [hardware.precision for hardware in available_hardware()] == ["32"]


def test_text_model_is_not_measured_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "find_spec", lambda _: None)
    assert available_models() == ("hrlf", "almt")


def test_table_says_that_no_gpu_was_measured() -> None:
    assert NO_GPU in format_throughput([CPU])


def test_table_compares_the_gpu_with_the_cpu() -> None:
    table = format_throughput([CPU, GPU])
    assert NO_GPU not in table
    assert "10.00" in table.splitlines()[-1]
