"""Runs that several training processes share. Only the first process writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, find_current_run, new_run
from edge_msa.errors import UsageError
from edge_msa.training.context import TrainingContext


def require_single_process(command: str) -> None:
    """Raise an error if a command that trains several models was started under torchrun.

    The other processes exit after the first training, so later trainings would wait for them forever.

    Raises:
        UsageError: This process is one of several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"{command} trains several models in one process. Start it directly, not under torchrun.")


def find_current_shared_run(output_dir: Path, request: Request, context: TrainingContext) -> Run | None:
    """Call `find_current_run` in the first process and return the run. If there is one, the other processes exit."""
    run = find_current_run(output_dir, request) if context.is_first else None
    if context.broadcast(run is not None):
        context.exit_other_processes()
    return run


@contextmanager
def new_shared_run(output_dir: Path, cache_key: str, context: TrainingContext) -> Iterator[Path]:
    """Yield a folder from `new_run` in the first process. Other processes get a path that they must not write to."""
    if not context.is_first:
        yield output_dir
        return
    with new_run(output_dir, cache_key) as work:
        yield work
