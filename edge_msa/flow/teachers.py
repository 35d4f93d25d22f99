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
from edge_msa.flow.data import data_of, opened_plain, seen_by
from edge_msa.runs import Run, read_run
from edge_msa.training.engine import Engine
from edge_msa.training.load import model_of
from edge_msa.training.readers import contract_of_reader
from edge_msa.training.student_recipe import StudentRecipe
from edge_msa.training.targets import Targets, Teacher, targets_of


@dataclass(frozen=True)
class School:
    """A student's teachers and what it learns on.

    `contract`: of the student. `dataset`: normalised by it; `raw`: the same as it was; `own`: as it was opened, without
    the transfer files' samples. `runs` and `contracts`: of the teachers, the latter with what they are asked for;
    `views`: the data as each of them sees it. `reader`: the language run that makes the student's language stream of
    the words, None where that is features.
    """

    contract: Contract
    dataset: Dataset
    raw: Dataset
    own: Dataset
    runs: tuple[Run, ...]
    contracts: tuple[Contract, ...]
    views: tuple[Dataset, ...]
    reader: Run | None = None
    _asked: dict[str, Targets | None] = field(default_factory=dict)

    def shown_to(self, run: Run) -> Dataset:
        """The data without the transfer files' samples, raw, as a teacher or a student of it sees it."""
        return seen_by(run, Contract.from_json(run.info.contract), self.own)

    def digests(self, engine: Engine) -> dict[str, str]:
        """What a run of a student depends on besides its recipe and seed."""
        inputs = {"data": self.dataset.digest, "task": self.dataset.task.kind, "precision": engine.precision}
        inputs |= {f"teacher{place or ''}": run.digest for place, run in enumerate(self.runs)}
        return inputs | ({"language": self.reader.digest} if self.reader else {})

    def targets(self, recipe: StudentRecipe, engine: Engine) -> Targets | None:
        """What the teachers say, each of the split in its own normalisation; asked once for all like recipes."""
        key = f"{recipe.teacher_weights} {recipe.from_teacher > 0} {bool(recipe.weights)} {engine.device}"
        if key not in self._asked:
            teachers = [
                Teacher(model_of(run, engine.device), given.normalised(view).split("train"))
                for run, given, view in zip(self.runs, self.contracts, self.views, strict=True)
            ]
            self._asked[key] = targets_of(teachers, recipe, self.dataset.task, engine.device)
        return self._asked[key]


def school_of(
    data: str | None,
    teachers: Sequence[Path],
    transfer: Sequence[str],
    task: str | None,
    language: Path | None = None,
) -> School:
    """Open all of it.

    The student reads what any of its teachers reads; where two normalise the same modality, the first one's way is the
    student's. A later teacher is not asked for a modality of which the data has other features than it was made for.

    Args:
        data: a feature file; None: what the first teacher was made from.
        teachers: runs of train, import, distill or language.
        transfer: feature files whose training samples are learned from as well, with or without labels.
        task: name of the data's task; None: its own.
        language: a language run, by whose front the student reads words; None: the first teacher's, if it has one.

    Raises:
        DataError: a teacher answers something else, or reads nothing of the data; a transfer file does not fit.
    """
    runs = tuple(read_run(path, "teacher", "student") for path in teachers)
    asked = [Contract.from_json(run.info.contract) for run in runs]
    first = asked[0]
    plain = opened_plain(runs[0], first, data, task)
    others = [_transfer(file, first) for file in transfer]
    reader = read_run(language) if language else runs[0] if first.language else None
    views = [_view(run, given, plain, others) for run, given in zip(runs, asked, strict=True)]
    first.readable(views[0])
    fitting = [first, *(_fitting(r.path, c, first, v) for r, c, v in zip(runs[1:], asked[1:], views[1:], strict=True))]
    contract = first
    for given in fitting[1:]:
        contract = contract.joined(given)
    own = views[0]
    if reader is not None:
        spoken = contract_of_reader(reader)
        contract = contract.joined(spoken.only(["language"])).speaking(spoken)
        own = _view(reader, spoken, plain, others)
    raw = contract.readable(own)
    contract = dataclasses.replace(contract.narrowed(raw), data=data_of(data, first, runs[0].path))
    normalised = contract.normalised(raw)
    remarks(normalised.notes[len(plain.notes) :])
    reads = tuple(given.only([name for name in given.dims if name in contract.dims]) for given in fitting)
    return School(contract, normalised, raw, plain, runs, reads, tuple(views), reader if contract.language else None)


def _view(run: Run, contract: Contract, dataset: Dataset, transfer: Sequence[Dataset]) -> Dataset:
    """The data as a run sees it, with the training samples of the transfer files behind its own."""
    seen = [seen_by(run, contract, item) for item in transfer]
    return join_training(seen_by(run, contract, dataset), [contract.readable(item) for item in seen])


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
    """A transfer file's training split, raw; its task is the first teacher's where the file states none."""
    try:
        found = open_dataset(file)
    except UnstatedTaskError:
        found = open_dataset(file, task=contract.task)
    remarks(found.notes)
    return dataclasses.replace(found, splits={"train": found.split("train")})
