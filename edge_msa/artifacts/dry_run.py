"""Dry runs: what a command would do, found by the cache lookups of the command itself.

In a dry run, a command starts as always: it loads its data and looks for existing results. Every lookup is recorded.
The first one that finds no current result ends the command by raising `DryRunEnd`, before anything is written. A
command with several steps declares them with `declare_steps`, so that the later ones, whose cache keys depend on
results that do not exist yet, can be listed. It wraps steps that do not depend on each other in `independent_step`, and
calls `end_dry_run` before it computes or writes anything else.

Durations are recorded next to every result, in the hidden file `.NAME.seconds`. They are the estimates of later runs.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge_msa.artifacts.files import write_text
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
            or PlannedStep(name, output, "runs", None if output is None else _last_seconds(output))
            for name, output in self.declared
        ]
        outputs = {output.absolute() for _, output in self.declared if output}
        return (*(step for path, step in self.found.items() if path not in outputs), *self.others, *declared)

    @staticmethod
    def _named(name: str, step: PlannedStep | None) -> PlannedStep | None:
        return step and PlannedStep(name, step.output, step.state, step.seconds)


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


def record_seconds(output: Path, command: str, recipe: Mapping[str, Any], seconds: float) -> None:
    """Record how long it took to make a result.

    Args:
        output: The result.
        command: The command that made it.
        recipe: Its settings.
        seconds: The duration.
    """
    value = {"command": command, "recipe": recipe, "seconds": round(seconds, 1)}
    with contextlib.suppress(OSError):  # only an estimate is lost
        write_text(_record(output), json.dumps(value, default=str) + "\n")


def estimate_seconds(output: Path, request: Request) -> float | None:
    """Return how long a step will take: as long as the same command with the same recipe took the last time.

    The results in the same folder count, too. If only numbers of epochs differ, the duration is scaled.
    """
    for path in (_record(output), *sorted(output.absolute().parent.glob(".*.seconds"))):
        value = _load(path)
        if value.get("command") != request.command:
            continue
        old, old_epochs = _split_epochs(value.get("recipe", {}))
        new, new_epochs = _split_epochs(request.recipe)
        if old == new and old_epochs and new_epochs:
            return float(value["seconds"]) * new_epochs / old_epochs
        if old == new and old_epochs == new_epochs:
            return float(value["seconds"])
    return None


def _last_seconds(output: Path) -> float | None:
    seconds = _load(_record(output)).get("seconds")
    return None if seconds is None else float(seconds)


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _split_epochs(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """Return the settings without numbers of epochs, as JSON has them, and the sum of these numbers."""
    plain = json.loads(json.dumps(recipe, default=str))
    epochs = sum(value for name, value in plain.items() if name.endswith("epochs") and isinstance(value, int))
    return {name: value for name, value in plain.items() if not name.endswith("epochs")}, epochs


def _record(output: Path) -> Path:
    return output.with_name(f".{output.name}.seconds")
