"""Run folders among several training processes: the first one has the folder, the others know what it found."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_msa.artifacts.runs import Run, current_run, new_run
from edge_msa.errors import UsageError
from edge_msa.training.context import TrainingContext


def refuse_several(command: str) -> None:
    """Refuse torchrun for a command of several steps: its later ones would wait for processes that have ended.

    Raises:
        UsageError: this process was started among several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"{command} goes through its trainings in one process: start it once, not under torchrun")


def current_for_all(output_dir: Path, cache_key: str, context: TrainingContext) -> Run | None:
    """`current_run` as the first process finds it; where it is a run, the other processes end."""
    run = current_run(output_dir, cache_key) if context.is_first else None
    if context.agree(run is not None):
        context.dismiss_others()
    return run


@contextmanager
def new_for_all(output_dir: Path, cache_key: str, context: TrainingContext) -> Iterator[Path]:
    """`new_run` in the first process; the others get a path that they never write to."""
    if not context.is_first:
        yield output_dir
        return
    with new_run(output_dir, cache_key) as work:
        yield work
