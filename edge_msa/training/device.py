"""Which device a training runs on."""

from __future__ import annotations

import os

import torch

from edge_msa.errors import BackendUnavailableError, UsageError


def resolve_device(name: str) -> torch.device:
    """The device behind `auto`, `cpu` or `cuda`; `auto` is cuda where there is one.

    On a CPU torch is held to one thread unless OMP_NUM_THREADS says otherwise: these networks are so small that a
    second thread saves a tenth, and on a machine that does anything else the threads wait for each other (measured: up
    to fifteen times slower).

    Raises:
        UsageError: another name.
        BackendUnavailableError: cuda was asked for, and torch finds none.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"unknown device {name!r}; --device takes one of: auto, cpu, cuda")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise BackendUnavailableError(
            "--device cuda: torch finds no CUDA device; use --device cpu, or install a CUDA build of torch"
        )
    if found and name != "cpu":
        return torch.device("cuda")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    return torch.device("cpu")
