"""Selection of the device to train on."""

from __future__ import annotations

import os

import torch

from edge_msa.errors import BackendUnavailableError, UsageError


def resolve_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`; `auto` is cuda if available.

    On a CPU, torch is limited to one thread unless OMP_NUM_THREADS is set. The networks are so small that a second
    thread saves only a tenth of the time, and on a busy machine the threads wait for each other (up to fifteen times
    slower, as measured).

    Raises:
        UsageError: The name is unknown, or OMP_NUM_THREADS is not a number.
        BackendUnavailableError: The name is cuda and torch finds no CUDA device.
    """
    if name not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device must be one of auto, cpu, cuda, got {name!r}.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise BackendUnavailableError("torch finds no CUDA device. Use --device cpu, or install a CUDA build of torch.")
    if available and name != "cpu":
        return torch.device("cuda")
    torch.set_num_threads(_requested_threads())
    return torch.device("cpu")


def _requested_threads() -> int:
    """Return the threads of the outermost level of OMP_NUM_THREADS, such as 4 of "4,2"; 1 if it is not set."""
    value = os.environ.get("OMP_NUM_THREADS", "").strip() or "1"
    first = value.split(",")[0].strip()
    if not first.isdecimal() or int(first) < 1:
        raise UsageError(
            f"OMP_NUM_THREADS must be a positive number or a comma-separated list, got {value!r}. "
            "Set it to a number, or unset it."
        )
    return int(first)
