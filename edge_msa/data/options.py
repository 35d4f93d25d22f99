"""`LoadOptions`: how the labels of a file are understood."""

from __future__ import annotations

from dataclasses import dataclass

from edge_msa.data.tasks import Task


@dataclass(frozen=True)
class LoadOptions:
    """What a caller wants of the labels of a file. Every loader takes these options."""

    task: Task | None = None
    """What the labels mean; None for the task that the file states."""
    clip_labels: bool | None = None
    """Whether labels slightly beyond the task's scale are set to its nearest end. None: as the file says, or else yes
    for the tasks mosi and sims."""
    labels: bool = True
    """Whether to load labels. If not, all samples are unlabeled, and the file need not state its task."""
