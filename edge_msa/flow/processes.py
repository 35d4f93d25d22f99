"""Run folders among several training processes: the first one has the folder, the others know what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_msa.runs import Run, current_run, new_run
from edge_msa.training.engine import Engine


def current_for_all(output_dir: Path, identity: str, engine: Engine) -> Run | None:
    """`current_run` as the first process finds it; where it is a run, the other processes end."""
    run = current_run(output_dir, identity) if engine.is_first else None
    if engine.agree(run is not None):
        engine.dismiss_others()
    return run


@contextmanager
def new_for_all(output_dir: Path, identity: str, engine: Engine) -> Iterator[Path]:
    """`new_run` in the first process; the others get a path that they never write to."""
    if not engine.is_first:
        yield output_dir
        return
    with new_run(output_dir, identity) as work:
        yield work
