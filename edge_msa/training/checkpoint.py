"""The checkpoint of one `fit`: everything that the next epoch needs, in one file written atomically."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_msa.errors import RunError
from edge_msa_runtime.atomic_files import atomic_file

FILE = "checkpoint.pt"

LogRow = dict[str, float | int | str]


@dataclass
class Progress:
    """How far a `fit` has come.

    `epoch`: epochs done. `best`, `best_epoch`, `best_weights`: the lowest validation metric yet, the epoch (from 0) it
    belongs to, and the weights then. `rows`: one log row an epoch. No generator state: randomness is keyed by epoch.
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    epoch: int = 0
    best: float = float("inf")
    best_epoch: int = -1
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    rows: list[LogRow] = field(default_factory=list)


def save(progress: Progress, fingerprint: str, folder: Path) -> None:
    """Write it so that a reader sees the old file or the new one, never a part."""
    try:
        with atomic_file(folder / FILE) as file:
            torch.save({"fingerprint": fingerprint, **vars(progress)}, file)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        raise RunError(f"cannot write {folder / FILE}: {error}; free space or choose another --output-dir") from error


def load(folder: Path, fingerprint: str) -> Progress | None:
    """The progress there, on the CPU, or None where there is none for this fingerprint.

    A checkpoint of another data set, recipe or seed is no progress of this training, which then starts at epoch 0.

    Raises:
        RunError: a file is there that cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("fingerprint") != fingerprint:
            return None
        return Progress(**content)
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"cannot resume from {path}: {first}; delete the file to start this training anew") from error
