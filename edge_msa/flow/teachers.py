"""What a student is going to learn from: its contract, its data, and its teachers with the data as each reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset
from edge_msa.data.join import join_training
from edge_msa.data.open import open_dataset
from edge_msa.errors import DataError, UnstatedTaskError
from edge_msa.flow.console import remarks
from edge_msa.flow.data import data_of, opened_for
from edge_msa.runs import Run, read_run
from edge_msa.training.engine import Engine
from edge_msa.training.load import model_of
from edge_msa.training.student_recipe import StudentRecipe
from edge_msa.training.taught import Targets, Teacher, targets_of


@dataclass(frozen=True)
class School:
    """A student's teachers and what it learns on.

    `contract`: of the student. `dataset`: normalised by it; `raw`: the same as it was; `own`: that without the transfer
    files' samples. `runs` and `contracts`: of the teachers, the latter with what they are asked for.
    """

    contract: Contract
    dataset: Dataset
    raw: Dataset
    own: Dataset
    runs: tuple[Run, ...]
    contracts: tuple[Contract, ...]
    _asked: dict[str, Targets | None] = field(default_factory=dict)

    def digests(self, engine: Engine) -> dict[str, str]:
        """What a run of a student depends on besides its recipe and seed."""
        inputs = {"data": self.dataset.digest, "task": self.dataset.task.kind, "precision": engine.precision}
        return inputs | {f"teacher{place or ''}": run.digest for place, run in enumerate(self.runs)}

    def targets(self, recipe: StudentRecipe, engine: Engine) -> Targets | None:
        """What the teachers say, each of the split in its own normalisation; asked once for all like recipes."""
        key = f"{recipe.teacher_weights} {recipe.from_teacher > 0} {bool(recipe.weights)} {engine.device}"
        if key not in self._asked:
            teachers = [
                Teacher(model_of(run, engine.device), given.normalised(self.raw).split("train"))
                for run, given in zip(self.runs, self.contracts, strict=True)
            ]
            self._asked[key] = targets_of(teachers, recipe, self.raw.task, engine.device)
        return self._asked[key]


def school_of(data: str | None, teachers: Sequence[Path], transfer: Sequence[str], task: str | None) -> School:
    """Open all of it.

    The student reads what any of its teachers reads; where two normalise the same modality, the first one's way is the
    student's. A later teacher is not asked for a modality of which the data has other features than it was made for.

    Args:
        data: a feature file; None: what the first teacher was made from.
        teachers: runs of train, import or distill.
        transfer: feature files whose training samples are learned from as well, with or without labels.
        task: name of the data's task; None: its own.

    Raises:
        DataError: a teacher answers something else, or reads nothing of the data; a transfer file does not fit.
    """
    runs = tuple(read_run(path, "teacher", "student") for path in teachers)
    first, *others = (Contract.from_json(run.info.contract) for run in runs)
    dataset = opened_for(runs[0], first, data, task)
    first.readable(dataset)
    fitting = [first]
    for run, given in zip(runs[1:], others, strict=True):
        fitting.append(_fitting(run.path, given, first, dataset))
    contract = first
    for given in fitting[1:]:
        contract = contract.joined(given)
    raw = contract.readable(join_training(dataset, [_transfer(file, contract) for file in transfer]))
    contract = dataclasses.replace(contract.narrowed(raw), data=data_of(data, first, runs[0].path))
    asked = [given.only([name for name in given.dims if name in contract.dims]) for given in fitting]
    normalised = contract.normalised(raw)
    remarks(normalised.notes[len(dataset.notes) :])
    return School(contract, normalised, raw, dataset, runs, tuple(asked))


def _fitting(path: Path, given: Contract, first: Contract, dataset: Dataset) -> Contract:
    """A later teacher's contract, without the modalities that the data has other features of."""
    if given.task.outputs != first.task.outputs or given.task.is_score != first.task.is_score:
        raise DataError(
            f"{path} answers the task {given.task.kind}, the first teacher {first.task.kind}: give teachers of one task"
        )
    names = [name for name, dim in given.dims.items() if dataset.dims.get(name, dim) == dim]
    left = [
        f"{name} ({given.dims[name]} features, not {dataset.dims[name]})" for name in given.dims if name not in names
    ]
    if not any(name in dataset.dims for name in names):
        raise DataError(f"{path} reads {', '.join(given.dims)}, and nothing that {dataset.name} has: {_words(left)}")
    remarks(f"{path} is not asked for {item}" for item in left)
    return given.only(names)


def _words(left: Sequence[str]) -> str:
    return f"it has other {', '.join(left)}" if left else "leave that teacher out"


def _transfer(file: str, contract: Contract) -> Dataset:
    """A transfer file, raw, with what the student reads of it; the first error of what does not fit."""
    try:
        found = open_dataset(file)
    except UnstatedTaskError:
        found = open_dataset(file, task=contract.task)
    readable = contract.readable(found)
    remarks(found.notes)
    return readable
