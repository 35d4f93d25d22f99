"""`edge-msa search`: trials of student recipes on one target, shared by any number of processes and machines.

Every process claims a trial from the storage, makes it as ordinary runs, and tells the storage what it measured; none
of them leads. Whoever is killed is found out by its lock, and its trial is made again by another, or by the same
command later.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edge_msa.console import made, remark, say, say_json, step
from edge_msa.errors import RunUsageError
from edge_msa.search.answer import answer
from edge_msa.search.context import DATA, TEACHER, Asked, SearchContext, make_teacher, prepare
from edge_msa.search.points import words_of
from edge_msa.search.record import NAME
from edge_msa.search.results import PAGE, PARETO, finish
from edge_msa.search.storage import need_optuna
from edge_msa.search.study import LEASES, Claimed, Study
from edge_msa.search.table import format_search
from edge_msa.search.trial_runner import FAILURES, STUDENTS, TrialRunner
from edge_msa.training.shared_runs import require_single_process

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

STORAGE, JOBS = "search.db", "jobs"
POLL_SECONDS = 1.0


def search(asked: Asked, *, jobs: int = 1, json: bool = False) -> None:
    """Take part in a search until it has its trials, and write what it found.

    Raises:
        UsageError: an option, the recipe or the space cannot be used; the storage holds another search.
        StorageError: the storage is locked, damaged or cannot be reached.
        EdgeMsaError: no trial could be measured.
    """
    need_optuna()
    require_single_process("search")
    check_place(asked.output_dir)
    started = time.monotonic()
    context = prepare(asked)
    with _study(context) as study, TrialRunner(context) as runner:
        make_teacher(context)
        helpers = _started(asked, jobs - 1)
        _take_part(context, study, runner)
        for helper in helpers:
            helper.join()
        record = finish(context, runner, study.points())
    found = answer(record)
    say(f"\n{format_search(record)}\n\n{found.text}")
    say(f"took {time.monotonic() - started:.0f} s")
    made("Pareto set", asked.output_dir / PARETO)
    made("page", asked.output_dir / PAGE)
    if json:
        say_json(record.to_json() | {"answer": found.to_json()})


def check_place(output_dir: Path) -> None:
    """Refuse a folder that holds anything but a search.

    Raises:
        RunUsageError: it is a file, or holds something else.
    """
    own = {TEACHER, STUDENTS, PARETO, PAGE, NAME, LEASES, JOBS}
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file: give a folder for the trials and what comes of them")
    for entry in sorted(output_dir.iterdir()) if output_dir.is_dir() else ():
        if (
            not entry.name.startswith((".", STORAGE, DATA))
            and entry.name not in own
            and entry.suffix not in {".db", ".log"}
        ):
            raise RunUsageError(
                f"{output_dir} holds {entry.name}, which is of no search: give another --output-dir, "
                "nothing was changed"
            )


def take_part(asked: Asked, log: Path) -> None:
    """What a further process of `--jobs` does: trials, and not the results; what it says goes into a file."""
    need_optuna()
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        context = prepare(asked)
        with _study(context) as study, TrialRunner(context) as runner:
            make_teacher(context)
            _take_part(context, study, runner)


def _study(context: SearchContext) -> Study:
    asked = context.asked
    place = asked.storage or str(asked.output_dir / STORAGE)
    asked.output_dir.mkdir(parents=True, exist_ok=True)
    study = Study(place, asked.output_dir, context.parts, context.space, seed=asked.seed)
    study.enqueue_defaults(context.defaults)
    if context.total < asked.trials:
        remark(f"note: the space has {context.total} points, so there are no more trials than that")
    return study


def _started(asked: Asked, count: int) -> list[SpawnProcess]:
    """Further processes on the same search, which end with this one."""
    context = multiprocessing.get_context("spawn")
    folder = asked.output_dir / JOBS
    found = []
    for number in range(1, count + 1):
        folder.mkdir(exist_ok=True)
        # Read when torch is loaded, which is before anything of ours runs in there.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // (count + 1))))
        helper = context.Process(target=take_part, args=(asked, folder / f"{number}.txt"), daemon=True)
        helper.start()
        found.append(helper)
    return found


def _take_part(context: SearchContext, study: Study, runner: TrialRunner) -> None:
    """Make trials until the study has all, and wait for those of others: one of them may die and leave a trial."""
    waited = False
    while True:
        claimed = study.claim(context.total)
        if claimed is not None:
            _make(context, study, runner, claimed)
            continue
        running = study.running()
        if not running:
            return
        if not waited:
            remark(f"note: waiting for {running} trials of other processes")
        waited = True
        time.sleep(POLL_SECONDS)


def _make(context: SearchContext, study: Study, runner: TrialRunner, claimed: Claimed) -> None:
    step(f"trial {claimed.number}: {words_of(claimed.params)}{' (default)' if claimed.default else ''}")
    try:
        with study.held(claimed):
            point = runner.point(claimed, context.asked.seed)
    except FAILURES as error:
        study.fail(claimed, str(error))
        remark(f"trial {claimed.number} failed: {error}")
        return
    study.finish(claimed, point)
    loss, ratio, size = point.costs
    say(f"error {loss:.4f}, latency {ratio:.3f} of the reference ({point.p50_ms:.3f} ms), {size / 1e3:.0f} KB")
