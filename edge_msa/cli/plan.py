"""Print what a dry run has found."""

from __future__ import annotations

from edge_msa.artifacts.dry_run import Plan, PlannedStep
from edge_msa.console import print_json, print_result
from edge_msa.text_tables import ABSENT, text_table

_STATES = {"cached": "up to date", "resumes": "will resume", "runs": "will run"}


def print_plan(plan: Plan, *, json: bool) -> None:
    """Print a table of the steps, and the estimated time of those that will run."""
    rows = [
        [step.name, ABSENT if step.output is None else str(step.output), _STATES[step.state], _time(step)]
        for step in plan.steps
    ]
    print_result(text_table(["step", "output", "state", "time"], rows, left=3))
    print_result(f"Dry run: nothing was written. {_total(plan)}")
    if json:
        print_json({"steps": [step.to_json() for step in plan.steps]})


def _total(plan: Plan) -> str:
    todo = [step for step in plan.steps if step.state != "cached"]
    if not todo:
        return "Everything is up to date."
    known = [step.seconds for step in todo if step.seconds is not None]
    unknown = len(todo) - len(known)
    if not known:
        return "Time unknown: no earlier run of these steps was measured here."
    rest = f", and {unknown} {'step' if unknown == 1 else 'steps'} of unknown duration" if unknown else ""
    return f"Estimated time: {_format_seconds(sum(known))}{rest}, as measured in earlier runs."


def _time(step: PlannedStep) -> str:
    if step.state == "cached":
        return ABSENT
    return "unknown" if step.seconds is None else f"about {_format_seconds(step.seconds)}"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
