"""Which device a training runs on."""

from __future__ import annotations

import torch

from edge_msa.errors import BackendError, UsageError


def resolve_device(name: str) -> torch.device:
    """The device behind `auto`, `cpu` or `cuda`; `auto` is cuda where there is one.

    Raises:
        UsageError: another name.
        BackendError: cuda was asked for, and torch finds none.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"unknown device {name!r}; --device takes one of: auto, cpu, cuda")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise BackendError(
            "--device cuda: torch finds no CUDA device; use --device cpu, or install a CUDA build of torch"
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")
