"""`edge-msa cascade`: make one model of several bundles, which asks a larger one only where its answer is uncertain."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.arguments import AnyPath, optional_source, paths_of
from edge_msa.artifacts.requests import check_may_replace_file
from edge_msa.benchmark.machine import describe_machine
from edge_msa.console import activity, print_notes
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.opening import open_and_report
from edge_msa.data.tasks import task_from_spec
from edge_msa.errors import DataError, UnstatedTaskError, UsageError
from edge_msa.evaluation.cascades import (
    FittedRoute,
    collect_member_scores,
    fit_route,
    measure_costs,
    typical_frames,
)
from edge_msa.evaluation.cascades.fit import COVERAGES
from edge_msa.evaluation.predictors import select_session_inputs
from edge_msa.evaluation.subsets import available_subsets
from edge_msa.result_tables import Row, Table
from edge_msa.text_tables import text_table
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_folder
from edge_msa_export.cascade import describe_members, write_cascade
from edge_msa_export.folders import check_destination
from edge_msa_runtime import __version__, load
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.cascade.loader import check_members, is_cascade
from edge_msa_runtime.cascade.manifest import CASCADE_SCHEMA, MAX_MEMBERS, MIN_MEMBERS, CascadeManifest, is_member_name
from edge_msa_runtime.errors import BundleError
from edge_msa_runtime.session import Session

_LABELED: tuple[SplitName, ...] = ("valid",)
_SHOWN_BUDGETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


@dataclass(frozen=True, repr=False)
class FittedCascade(Table):
    """A cascade that `cascade` wrote: the folder that a device runs, and the curve of its loss over its mean cost.

    It is a path-like object, so you can pass it wherever the path of a bundle can be that of a cascade.
    """

    path: Path
    """The folder."""
    members: tuple[str, ...]
    """Names of the members, in the order in which they are asked."""
    loss: str
    """What the loss is: `mae`, or `error rate`."""
    mean_cost: float
    """Largest mean time, as a share of the last member's."""
    routes: Mapping[str, FittedRoute]
    """What was chosen for each subset of modalities."""

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        """Return the members, e.g. `<FittedCascade of small, large: cascade/>`."""
        return f"<FittedCascade of {', '.join(self.members)}: {self.path}/>"

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per subset and mean cost of the curve, all on validation."""
        return tuple(
            {
                "available": subset,
                "budget": budget,
                "mean_cost": policy.cost,
                self.loss: policy.loss,
                **{f"answered_by_{name}": share for name, share in zip(self.members, policy.asked, strict=True)},
            }
            for subset, fitted in self.routes.items()
            for budget, policy in fitted.curve
        )

    def __str__(self) -> str:
        """Return the curve of each subset for people, and other ways to choose at the mean cost of the cascade."""
        lines = []
        for subset, fitted in self.routes.items():
            policy = fitted.policy
            rows = [
                [
                    f"{budget:.2f}",
                    f"{item.cost:.3f}",
                    f"{item.loss:.3f}",
                    *(f"{100 * share:.0f} %" for share in item.asked),
                ]
                for budget, item in fitted.curve
                if budget in _SHOWN_BUDGETS
            ]
            alone = ", ".join(
                f"{name} {loss:.3f} at {cost:.3f}"
                for name, loss, cost in zip(self.members, fitted.losses, fitted.route.costs, strict=True)
            )
            others = ", ".join(f"{name} {loss:.3f}" for name, loss in fitted.alternatives.items())
            areas = ", ".join(f"{name} {area:.3f}" for name, area in fitted.areas.items())
            lines += [
                f"{subset}, validation: {self.loss} over mean time (1 is that of {self.members[-1]})",
                text_table(["at most", "time", self.loss, *self.members], rows, left=0),
                f"alone: {alone}",
                f"chosen: {fitted.target} by {fitted.signal}, {self.loss} {policy.loss:.3f} at {policy.cost:.3f}",
                f"at this time: {others}",
                f"mean {self.loss} of the curve: {areas}",
            ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": str(self.path),
            "members": list(self.members),
            "loss": self.loss,
            "mean_cost": self.mean_cost,
            "routes": {subset: dataclasses.asdict(fitted) for subset, fitted in self.routes.items()},
        }


@api
def cascade(
    bundles: Sequence[AnyPath],
    *,
    data: AnyPath,
    output_dir: AnyPath,
    mean_cost: float = 0.4,
    backend: str = "auto",
    precision: str | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> FittedCascade:
    """Make a cascade of bundles: the first one answers, and the next is asked where its answer is uncertain.

    The mean times are measured here. When to ask is chosen on the validation split of `data`, so that the mean time is
    at most `mean_cost` of the last bundle's.

    Args:
        bundles: Two to four bundles, smallest first. They must take the same inputs and predict the same.
        data: Feature file with a labeled validation split, or `"synthetic"`.
        output_dir: Folder to write, with copies of the bundles.
        mean_cost: Largest mean time of a prediction, as a share of the last bundle's, above 0 and at most 1.
        backend: Backend to measure with (default: the first of each bundle that is available here).
        precision: Precision to measure with: `"fp32"`, `"fp16"` or `"int8"` (default: that of each bundle).
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace another cascade in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every sample.

    Returns:
        The cascade, with the curve of its loss over its mean time on validation.

    Raises:
        UsageError: An argument is invalid, or a path is not a bundle.
        BundleError: A bundle is damaged, or the bundles do not fit together.
        DataError: The data does not fit the bundles, has too few labels, or `mean_cost` cannot be kept.
        BackendUnavailableError: A bundle cannot run here.
        OutputError: `output_dir` contains something else than a cascade.

    Examples:
        >>> made = em.cascade(["bundle-table", "bundle-12-layers"], data="mosi.npz", output_dir="cascade")
        >>> print(em.evaluate(made, data="mosi.npz"))
    """
    paths = paths_of(bundles, "bundles", "a list of bundles")
    source = optional_source(data)
    if source is None:
        raise UsageError("data must be a feature file or 'synthetic', got None.")
    if not MIN_MEMBERS <= len(paths) <= MAX_MEMBERS:
        raise UsageError(f"A cascade needs {MIN_MEMBERS} to {MAX_MEMBERS} bundles, smallest first, got {len(paths)}.")
    if isinstance(mean_cost, bool) or not isinstance(mean_cost, int | float) or not 0 < mean_cost <= 1:
        raise UsageError(f"--mean-cost must be a number above 0 and at most 1, got {mean_cost!r}.")
    output = output_folder(output_dir, "output_dir", [*paths, source])
    check_may_replace_file(output)
    check_destination(output, is_cascade)
    opened = [open_bundle(path) for path in paths]
    names = _member_names([path.resolve().name for path in paths])
    try:
        check_members([bundle.manifest for bundle in opened], names)
    except BundleError as error:
        raise UsageError(str(error)) from None
    with ExitStack() as stack:
        sessions = [stack.enter_context(load(bundle.path, backend, precision=precision)) for bundle in opened]
        dataset = _open_validation(source, task, sessions[0])
        routes, typical = _fit_routes(sessions, dataset, float(mean_cost))
        measured = [f"{session.backend} {session.precision}" for session in sessions]
    manifest = CascadeManifest(
        schema=CASCADE_SCHEMA,
        name=output.resolve().name,
        members=describe_members(opened, names),
        routes={subset: fitted.route for subset, fitted in routes.items()},
        typical_frames=typical,
        coverages=COVERAGES if dataset.task.is_score else (),
        accuracy={
            subset: {"loss": fitted.policy.loss, "asked": fitted.policy.asked, "alone": fitted.losses}
            for subset, fitted in routes.items()
        },
        provenance=_describe_origin(dataset, opened, names, measured, float(mean_cost), routes),
    )
    write_cascade(output, opened, manifest)
    print_notes(
        f"{subset}: {names[index]} alone is better on validation within --mean-cost, {fitted.losses[index]:.3f} "
        f"instead of {fitted.policy.loss:.3f}: use its bundle"
        for subset, fitted in routes.items()
        for index in fitted.better_members(float(mean_cost))
    )
    return FittedCascade(output, tuple(names), "mae" if dataset.task.is_score else "error rate", mean_cost, routes)


def _member_names(folders: Sequence[str]) -> list[str]:
    """Return a name for each member, made of the name of its folder; equal ones get a number."""
    names = [re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:60] or "member" for folder in folders]
    unique = [name if names.count(name) == 1 else f"{name}-{index + 1}" for index, name in enumerate(names)]
    assert all(map(is_member_name, unique))  # noqa: S101 - by construction
    return unique


def _open_validation(source: str, task: str | None, session: Session) -> Dataset:
    """Return the dataset with what the members take, without earlier utterances.

    Raises:
        DataError: It does not fit, or its validation split has no labels.
    """
    stated = task_from_spec(session.manifest.task)
    try:  # files number classes, and bundles name them
        dataset = open_and_report(
            source, stated if task is None and stated.kind == "classes" else task, labeled=_LABELED
        )
    except UnstatedTaskError:
        dataset = open_and_report(source, stated, labeled=_LABELED)
    selected = select_session_inputs(session, dataset)
    print_notes([note for note in selected.notes if note not in dataset.notes])
    split = selected.splits.get("valid")
    if split is None or not is_labeled(split).any():
        raise DataError(
            f"{dataset.name} has no labeled validation split, which a cascade is chosen on. Pass other data."
        )
    # A cascade reads no earlier utterances.
    return dataclasses.replace(
        selected, splits={name: split.without_earlier() for name, split in selected.splits.items()}
    )


def _fit_routes(
    sessions: Sequence[Session], dataset: Dataset, mean_cost: float
) -> tuple[dict[str, FittedRoute], dict[str, float]]:
    split = dataset.split("valid")
    typical = typical_frames(sessions[0], split)
    routes = {}
    for subset, rows in available_subsets(split):
        part = split.select(rows)
        for session in sessions:
            session.prepare(subset)
        scores = collect_member_scores(sessions, part, subset, typical)
        with activity(f"Measuring the time of each member from {subset.value}", is_timed=True):
            costs = measure_costs(sessions, part, subset, scores.sizes)
        routes[subset.value] = fit_route(dataset.task, scores, costs, mean_cost)
    return routes, typical


def _describe_origin(
    dataset: Dataset,
    bundles: Sequence[Bundle],
    names: Sequence[str],
    measured: Sequence[str],
    mean_cost: float,
    routes: Mapping[str, FittedRoute],
) -> dict[str, Any]:
    """Return the provenance of a cascade as plain JSON values."""
    split = dataset.split("valid")
    return {
        "data": {"name": dataset.name, "digest": dataset.digest},
        "validation": {"samples": len(split), "videos": len(np.unique(split.groups))},
        "mean_cost": mean_cost,
        "spread": {subset: f"{fitted.target} by {fitted.signal}" for subset, fitted in routes.items()},
        "members": {
            name: {"bundle": bundle.manifest.name, "measured_with": how}
            for name, bundle, how in zip(names, bundles, measured, strict=True)
        },
        "machine": describe_machine(),
        "edge_msa": __version__,
    }
