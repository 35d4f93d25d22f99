"""Dry runs: what a command would do, found by the cache lookups of the command itself.

In a dry run, a command starts as always: it loads its data and looks for existing results. Every lookup is recorded.
The first one that finds no current result ends the command by raising `DryRunEnd`, before anything is written. A
command with several steps declares them with `declare_steps`, so that the later ones, whose cache keys depend on
results that do not exist yet, can be listed. It wraps steps that do not depend on each other in `independent_step`, and
calls `end_dry_run` before it computes or writes anything else.

The estimates are the durations of earlier runs (`edge_msa.artifacts.durations`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edge_msa.artifacts.durations import estimate_seconds, last_seconds
from edge_msa.artifacts.requests import Request

State = Literal["cached", "resumes", "runs"]


class DryRunEnd(BaseException):
    """The end of a dry run. It is no Exception, so that no command handles it as a failure."""


@dataclass(frozen=True)
class PlannedStep:
    """One step of a command."""

    name: str
    """What the step does."""
    output: Path | None
    """What it writes; None if that has no path of its own."""
    state: State
    """`cached` if its result is up to date, `resumes` if an interrupted attempt continues, `runs` otherwise."""
    seconds: float | None = None
    """How long it took the last time; None if that is unknown or nothing has to be done."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        output = None if self.output is None else str(self.output)
        return {"step": self.name, "output": output, "state": self.state, "seconds": self.seconds}


@dataclass
class Plan:
    """The steps of a command that is run dry."""

    declared: list[tuple[str, Path | None]] = field(default_factory=list)
    found: dict[Path, PlannedStep] = field(default_factory=dict)
    others: list[PlannedStep] = field(default_factory=list)

    @property
    def steps(self) -> tuple[PlannedStep, ...]:
        """All steps in order. Declared steps that were not reached run, because an earlier step does."""
        declared = [
            self._named(name, self.found.get(output.absolute()) if output else None)
            or PlannedStep(name, output, "runs", None if output is None else last_seconds(output))
            for name, output in self.declared
        ]
        outputs = {output.absolute() for _, output in self.declared if output}
        return (*(step for path, step in self.found.items() if path not in outputs), *self.others, *declared)

    @staticmethod
    def _named(name: str, step: PlannedStep | None) -> PlannedStep | None:
        return step and replace(step, name=name)


_plan: ContextVar[Plan | None] = ContextVar("dry_run", default=None)


@contextlib.contextmanager
def dry_run() -> Iterator[Plan]:
    """Yield the plan that the body fills. The body ends at the first step that would run."""
    plan = Plan()
    token = _plan.set(plan)
    try:
        with contextlib.suppress(DryRunEnd):
            yield plan
    finally:
        _plan.reset(token)


def is_dry_run() -> bool:
    """Return whether the command must not write anything."""
    return _plan.get() is not None


def declare_steps(steps: Sequence[tuple[str, Path | None]]) -> None:
    """State the names and outputs of all steps of a command, in order. Without a dry run, this does nothing."""
    if (plan := _plan.get()) is not None:
        plan.declared += steps


@contextlib.contextmanager
def independent_step() -> Iterator[None]:
    """In a dry run, go on after a step that would run: the next one does not depend on it."""
    if not is_dry_run():
        yield
        return
    with contextlib.suppress(DryRunEnd):
        yield


def end_dry_run() -> None:
    """End the command here if this is a dry run.

    Raises:
        DryRunEnd: It is.
    """
    if is_dry_run():
        raise DryRunEnd


def report_lookup(output: Path, request: Request, *, is_current: bool, resumes: bool = False) -> None:
    """Record whether the result of a step is up to date. Every cache lookup calls this.

    Args:
        output: The result.
        request: What it was or will be requested with.
        is_current: Whether it exists and is up to date.
        resumes: Whether an interrupted attempt of this request continues.

    Raises:
        DryRunEnd: This is a dry run, and the step would run.
    """
    if (plan := _plan.get()) is None:
        return
    state: State = "cached" if is_current else "resumes" if resumes else "runs"
    seconds = None if is_current else estimate_seconds(output, request)
    plan.found[output.absolute()] = PlannedStep(request.command, output, state, seconds)
    if not is_current:
        raise DryRunEnd


def report_work(name: str, state: State, seconds: float | None = None) -> None:
    """Record a step without an output of its own. Without a dry run, this does nothing."""
    if (plan := _plan.get()) is not None:
        plan.others.append(PlannedStep(name, None, state, seconds))
