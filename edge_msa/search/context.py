"""What all trials of a search stand on: data, teacher, default recipe, backend; made once, by whoever comes first."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.artifacts.locks import wait_for_turn
from edge_msa.artifacts.runs import load_run
from edge_msa.benchmark.machine import matches_profile, unavailable_reason
from edge_msa.config.recipes import recipe_from, student_recipe
from edge_msa.config.settings import PipelineRecipe, Settings, read_settings
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.console import shows_progress, step
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.formats.archive import write_archive
from edge_msa.data.opening import open_and_report
from edge_msa.errors import UsageError
from edge_msa.search.space import PRECISION, Params, Space, flat_fields, nested, read_space
from edge_msa.training.context import Hardware
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.teachers.by_name import teacher_recipe
from edge_msa.workflows.train import train_on
from edge_msa_export.profiles import DeviceProfile, profile_named
from edge_msa_runtime.errors import BackendUnavailableError

DATA, TEACHER = "data-", "teacher"


@dataclass(frozen=True)
class Asked:
    """A search as the command line asks for it; the names are those of the options."""

    target: str
    data: str
    trials: int
    output_dir: Path
    storage: str | None = None
    teacher: Path | None = None
    recipe: Path | None = None
    epochs: int | None = None
    train_samples: int | None = None
    seeds: int = 3
    seed: int = 0
    task: str | None = None


@dataclass(frozen=True)
class SearchContext:
    """All that trials share.

    `data` is what the flows open, `dataset` the same, raw. `profile` has the one backend that is searched for. `parts`
    names what a trial's numbers depend on.
    """

    asked: Asked
    settings: Settings
    data: str
    dataset: Dataset
    profile: DeviceProfile
    base: StudentRecipe
    space: Space
    parts: Mapping[str, str]
    _setups: list[DistillationSetup] = field(default_factory=list)

    @property
    def setup(self) -> DistillationSetup:
        """The teacher with the data, asked once by this process for all its trials."""
        if not self._setups:
            self._setups.append(prepare_distillation(self.data, [self.teacher], (), self.asked.task))
        return self._setups[0]

    @property
    def own(self) -> PipelineRecipe:
        """How students are calibrated and gated."""
        return self.settings.pipeline

    @property
    def backend(self) -> str:
        """The backend's name."""
        return self.profile.backends[0].name

    @property
    def teacher(self) -> Path:
        """Its run: the one that was given, or the search's own."""
        return self.asked.teacher or self.asked.output_dir / TEACHER

    @property
    def defaults(self) -> tuple[Params, ...]:
        """The default recipe at every precision of the space; sizes alone that the space has."""
        fields = flat_fields(self.base)
        sizes = {
            n: fields[n] for n, dimension in self.space.dimensions.items() if n != PRECISION and fields[n] in dimension
        }
        return tuple(sizes | {PRECISION: name} for name in self.space.dimensions[PRECISION].ends)

    @property
    def total(self) -> int:
        """Trials of the study: what was asked for, or as many points as there are."""
        outside = sum(len(params) < len(self.space.dimensions) for params in self.defaults)
        size = self.space.size
        return self.asked.trials if size is None else min(self.asked.trials, size + outside)

    def recipe_of(self, params: Params) -> StudentRecipe:
        """The student's recipe of a trial.

        Raises:
            UsageError: a value that the recipe refuses.
        """
        return recipe_from(self.base, nested(params), where="search.space")


def prepare(asked: Asked) -> SearchContext:
    """Read what was asked, and refuse now what could not work later; nothing is trained.

    Raises:
        UsageError: a value, a file or a field that cannot be used.
        BackendUnavailableError: no latency of the target can be measured on this machine.
    """
    settings = read_settings(asked.recipe)
    profile = _profile(asked.target)
    base = student_recipe(settings.student, asked.data, epochs=asked.epochs)
    teacher = teacher_recipe(settings.pipeline.teacher, _teacher_table(settings), asked.data)
    unknown = sorted(set(settings.search) - {"space"})
    if unknown:
        raise UsageError(f"search: unknown key {unknown[0]!r}; it takes: space")
    table = settings.search.get("space", {})
    if not isinstance(table, Mapping):
        raise UsageError(f"search.space is {table!r}; it must be a table, [search.space]")
    space = read_space(table, flat_fields(base), profile.backends[0].precisions)
    for name, dimension in space.dimensions.items():
        for value in dimension.ends:
            recipe_from(base, nested({name: value}), where="search.space")
    dataset = open_and_report(asked.data, asked.task)
    parts = {
        "data": _digest(dataset.digest, asked.train_samples, asked.seed),
        "task": dataset.task.kind,
        "target": _digest(profile.to_json()),
        "space": _digest(space.to_json()),
        "recipe": _digest(dataclasses.asdict(base), dataclasses.asdict(_gate_of(settings.pipeline))),
        "teacher": load_run(asked.teacher, "teacher").digest if asked.teacher else _digest(dataclasses.asdict(teacher)),
        "seed": str(asked.seed),
    }
    data = asked.data
    if asked.train_samples is not None:
        path = asked.output_dir / f"{DATA}{parts['data']}.npz"
        data = str(path)
        with wait_for_turn(path, "the training samples"):
            dataset = _fewer(dataset, asked, path)
    return SearchContext(asked, settings, data, dataset, profile, base, space, parts)


def make_teacher(context: SearchContext) -> None:
    """Train the teacher unless one was given; another process that wants it too waits."""
    if context.asked.teacher is not None:
        return
    settings, asked = context.settings, context.asked
    name = settings.pipeline.teacher
    with wait_for_turn(context.teacher, "the teacher"):
        step("teacher")
        recipe = teacher_recipe(name, _teacher_table(settings), asked.data)
        training = Hardware().start(progress=shows_progress())
        train_on(
            context.dataset, context.data, context.teacher, model=name, recipe=recipe, seed=asked.seed, context=training
        )


def _profile(target: str) -> DeviceProfile:
    """The target with its first backend that executes here alone."""
    profile = profile_named(target)
    if not matches_profile(profile.to_json()):
        raise BackendUnavailableError(
            f"{profile.name} is {profile.architecture}, this machine is not: latencies of {profile.name} cannot be "
            "measured here; search on such a device, or for a target of this kind"
        )
    reasons = []
    for backend in profile.backends:
        reason = unavailable_reason(backend.name)
        if reason is None:
            return dataclasses.replace(profile, backends=(backend,))
        reasons.append(reason)
    raise BackendUnavailableError(f"no backend of {profile.name} executes here: {'; '.join(reasons)}")


def _fewer(dataset: Dataset, asked: Asked, path: Path) -> Dataset:
    """A part of the training split and all of valid, as a file of their own; test is left out of it."""
    train = dataset.split("train")
    wanted = asked.train_samples or len(train)
    rows = np.sort(np.random.default_rng(asked.seed).permutation(len(train))[:wanted])
    splits: dict[SplitName, Split] = {"train": train.select(rows), "valid": dataset.split("valid")}
    part = dataclasses.replace(dataset, splits=splits)
    if not path.is_file():
        write_archive(part, path)
    return open_and_report(str(path), None)


def _teacher_table(settings: Settings) -> Mapping[str, Any]:
    return settings.hrlf if settings.pipeline.teacher == "hrlf" else settings.almt


def _gate_of(own: PipelineRecipe) -> PipelineRecipe:
    """What of the pipeline's table a trial depends on."""
    return PipelineRecipe(teacher=own.teacher, max_drop=own.max_drop, method=own.method, num_samples=own.num_samples)


def _digest(*values: Any) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
