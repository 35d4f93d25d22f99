"""What a student is going to learn from: its spec, its data, and its teachers with the data as each reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.console import print_notes
from edge_msa.data.dataset import Dataset
from edge_msa.data.join import join_train_splits
from edge_msa.data.opening import open_dataset
from edge_msa.errors import DataError, UnstatedTaskError
from edge_msa.training.context import TrainingContext
from edge_msa.training.distillation.targets import Targets, Teacher, targets_of
from edge_msa.training.load import model_of
from edge_msa.training.run_data import data_source_for_run, encode_texts_for_run, open_unencoded_dataset_for_run
from edge_msa.training.text.load import spec_of_text_model


@dataclass(frozen=True)
class DistillationSetup:
    """A student's teachers and what it learns on.

    `spec`: of the student. `dataset`: normalized by it; `raw`: the same as it was; `own`: as it was opened, without
    the transfer files' samples. `runs` and `specs`: of the teachers, the latter with what they are asked for;
    `views`: the data as each of them sees it. `reader`: the language run that makes the student's language stream of
    the words, None where that is features.
    """

    spec: ModelSpec
    dataset: Dataset
    raw: Dataset
    own: Dataset
    runs: tuple[Run, ...]
    specs: tuple[ModelSpec, ...]
    views: tuple[Dataset, ...]
    reader: Run | None = None
    _asked: dict[str, Targets | None] = field(default_factory=dict)

    def shown_to(self, run: Run) -> Dataset:
        """The data without the transfer files' samples, raw, as a teacher or a student of it sees it."""
        return encode_texts_for_run(run, self.own)

    def digests(self, context: TrainingContext) -> dict[str, str]:
        """What a run of a student depends on besides its recipe and seed."""
        inputs = {"data": self.dataset.digest, "task": self.dataset.task.kind, "precision": context.precision}
        inputs |= {f"teacher{place or ''}": run.digest for place, run in enumerate(self.runs)}
        return inputs | ({"language": self.reader.digest} if self.reader else {})

    def targets(self, recipe: StudentRecipe, context: TrainingContext) -> Targets | None:
        """What the teachers say, each of the split in its own normalization; asked once for all like recipes."""
        key = f"{recipe.teacher_weights} {recipe.from_teacher > 0} {bool(recipe.weights)} {context.device}"
        if key not in self._asked:
            teachers = [
                Teacher(model_of(run, context.device), given.normalize(view).split("train"))
                for run, given, view in zip(self.runs, self.specs, self.views, strict=True)
            ]
            self._asked[key] = targets_of(teachers, recipe, self.dataset.task, context.device)
        return self._asked[key]


def prepare_distillation(
    data: str | None,
    teachers: Sequence[Path],
    transfer: Sequence[str],
    task: str | None,
    language: Path | None = None,
) -> DistillationSetup:
    """Open all of it.

    The student reads what any of its teachers reads; where two normalize the same modality, the first one's way is the
    student's. A later teacher is not asked for a modality of which the data has other features than it was made for.

    Args:
        data: a feature file; None: what the first teacher was made from.
        teachers: runs of train, import, distill or language.
        transfer: feature files whose training samples are learned from as well, with or without labels.
        task: name of the data's task; None: its own.
        language: a language run, by whose text encoder the student reads words; None: the first teacher's, if it has one.

    Raises:
        DataError: a teacher answers something else, or reads nothing of the data; a transfer file does not fit.
    """
    runs = tuple(load_run(path, "teacher", "student") for path in teachers)
    asked = [run.spec for run in runs]
    first = asked[0]
    plain = open_unencoded_dataset_for_run(runs[0], data, task)
    others = [_transfer(file, first) for file in transfer]
    reader = load_run(language) if language else runs[0] if first.text_input else None
    views = [_view(run, given, plain, others) for run, given in zip(runs, asked, strict=True)]
    first.select_inputs(views[0])
    fitting = [first, *(_fitting(r.path, c, first, v) for r, c, v in zip(runs[1:], asked[1:], views[1:], strict=True))]
    spec = first
    for given in fitting[1:]:
        spec = spec.merge(given)
    own = views[0]
    if reader is not None:
        text_input = spec_of_text_model(reader)
        spec = spec.merge(text_input.select(["language"])).with_text_input(text_input)
        own = _view(reader, text_input, plain, others)
    raw = spec.select_inputs(own)
    spec = dataclasses.replace(spec.narrow_to(raw), data_source=data_source_for_run(runs[0], data))
    normalized = spec.normalize(raw)
    print_notes(normalized.notes[len(plain.notes) :])
    reads = tuple(given.select([name for name in given.dims if name in spec.dims]) for given in fitting)
    return DistillationSetup(
        spec, normalized, raw, plain, runs, reads, tuple(views), reader if spec.text_input else None
    )


def _view(run: Run, spec: ModelSpec, dataset: Dataset, transfer: Sequence[Dataset]) -> Dataset:
    """The data as a run sees it, with the training samples of the transfer files behind its own."""
    seen = [encode_texts_for_run(run, item) for item in transfer]
    return join_train_splits(encode_texts_for_run(run, dataset), [spec.select_inputs(item) for item in seen])


def _fitting(path: Path, given: ModelSpec, first: ModelSpec, dataset: Dataset) -> ModelSpec:
    """A later teacher's spec, without the modalities that the data has other features of."""
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
    print_notes(f"{path} is not asked for {item}" for item in left)
    return given.select(names)


def _words(left: Sequence[str]) -> str:
    return f"it has other {', '.join(left)}" if left else "leave that teacher out"


def _transfer(file: str, spec: ModelSpec) -> Dataset:
    """A transfer file's training split, raw; its task is the first teacher's where the file states none."""
    try:
        found = open_dataset(file)
    except UnstatedTaskError:
        found = open_dataset(file, task=spec.task)
    print_notes(found.notes)
    return dataclasses.replace(found, splits={"train": found.split("train")})
