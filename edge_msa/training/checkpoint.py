"""The checkpoint of one `fit` call: everything that the next epoch needs, in one file that is replaced atomically."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_msa.console import print_note
from edge_msa.errors import RunError
from edge_msa_runtime.atomic_files import atomic_file

FILE = "checkpoint.pt"

LogRow = dict[str, float | int | str]


@dataclass
class TrainingState:
    """The state of a training between two epochs.

    It contains no state of random generators, because random draws depend on the seed and the epoch only.
    """

    weights: dict[str, Tensor]
    """The weights that training continues with. They are not averaged."""
    optimizer: dict[str, Any]
    adversary: dict[str, Any] | None = None
    """The state of the objective's adversary, if it has one."""
    epoch: int = 0
    """Number of completed epochs."""
    best: float = float("inf")
    """The lowest validation metric so far."""
    best_epoch: int = -1
    """The epoch of the lowest validation metric, counted from 0."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """The weights after that epoch, averaged if the schedule has an average."""
    average: dict[str, Tensor] | None = None
    """The moving average of the weights, if the schedule has one."""
    rows: list[LogRow] = field(default_factory=list)
    """One log row per epoch."""


def save(state: TrainingState, fingerprint: str, folder: Path) -> None:
    """Write the checkpoint. Other processes see either the old file or the new one, never a part.

    Raises:
        RunError: The file cannot be written.
    """
    try:
        with atomic_file(folder / FILE) as file:
            torch.save({"fingerprint": fingerprint, **vars(state)}, file)
    except (OSError, RuntimeError) as error:  # on a full disk torch raises a RuntimeError
        raise RunError(f"Cannot write {folder / FILE}: {error}. Free space or choose another --output-dir.") from error


def load(folder: Path, fingerprint: str) -> TrainingState | None:
    """Return the saved state on the CPU, or None if there is no checkpoint with this fingerprint.

    The fingerprint covers dataset, recipe and seed. If one of them has changed, or the checkpoint is damaged, the
    training starts at epoch 0. A note reports a damaged checkpoint.

    Raises:
        RunError: The file cannot be read, for example because its drive fails.
    """
    path = folder / FILE
    try:
        if not path.is_file():
            return None
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("fingerprint") != fingerprint:
            return None
        return TrainingState(**content)
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error}. Check the drive, or choose another --output-dir.") from error
    except Exception as error:  # noqa: BLE001 - for damaged files torch raises arbitrary exceptions
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".") if str(error) else type(error).__name__
        print_note(f"Cannot resume from {path}: {reason}. The training starts again at the first epoch.")
        return None
