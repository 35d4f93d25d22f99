"""Make one run from several training processes: the first process writes it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_msa.artifacts.runs import Run, find_current_run, new_run
from edge_msa.errors import UsageError
from edge_msa.training.context import TrainingContext


def require_single_process(command: str) -> None:
    """Refuse to run a command of several trainings under torchrun.

    The other processes end with the first training, so later steps would wait for them forever.

    Raises:
        UsageError: This process is one of several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"{command} trains several models in one process. Start it directly, not under torchrun.")


def find_current_shared_run(output_dir: Path, cache_key: str, context: TrainingContext) -> Run | None:
    """Return the run that `find_current_run` finds in the first process; if it finds one, the other processes end."""
    run = find_current_run(output_dir, cache_key) if context.is_first else None
    if context.broadcast(run is not None):
        context.exit_other_processes()
    return run


@contextmanager
def new_shared_run(output_dir: Path, cache_key: str, context: TrainingContext) -> Iterator[Path]:
    """Give the first process a folder from `new_run`; the others get a path to which they must not write."""
    if not context.is_first:
        yield output_dir
        return
    with new_run(output_dir, cache_key) as work:
        yield work
