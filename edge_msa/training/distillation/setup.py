"""Everything that is needed to distill a student: its spec, its data, and the teachers with their data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, load_run
from edge_msa.config.students import StudentRecipe
from edge_msa.console import print_notes
from edge_msa.data.contextual_features import dropped_frames_notes
from edge_msa.data.dataset import Dataset
from edge_msa.data.join import join_train_splits
from edge_msa.data.opening import open_dataset
from edge_msa.errors import DataError, UnstatedTaskError
from edge_msa.training.context import TrainingContext
from edge_msa.training.distillation.targets import DistillationTargets, Teacher, compute_targets
from edge_msa.training.load import load_model
from edge_msa.training.run_data import data_source_for_run, encode_texts_for_run, open_unencoded_dataset_for_run
from edge_msa.training.text.load import require_text_model
from edge_msa_runtime.features import fill_features


@dataclass
class DistillationSetup:
    """A student's data and teachers. It caches the targets that the teachers compute."""

    spec: ModelSpec
    """Spec of the student."""
    dataset: Dataset
    """The student's dataset, normalized, with the training samples of the transfer files."""
    unnormalized: Dataset
    """The same dataset before normalization."""
    source: Dataset
    """The dataset as opened, without the transfer files, with unencoded texts."""
    teachers: tuple[Run, ...]
    """Runs of the teachers."""
    teacher_specs: tuple[ModelSpec, ...]
    """Specs of the teachers, restricted to the modalities that they are used for."""
    teacher_datasets: tuple[Dataset, ...]
    """The dataset of each teacher, with that teacher's text encoding, before normalization."""
    text_model: Run | None = None
    """The run whose text encoder computes the student's language frames; None if they are features."""
    _targets: dict[str, DistillationTargets | None] = field(default_factory=dict, init=False, repr=False)

    def dataset_for(self, run: Run) -> Dataset:
        """Return the dataset for evaluating a teacher or a student, without transfer files and normalization."""
        return encode_texts_for_run(run, self.source)

    def input_digests(self, context: TrainingContext) -> dict[str, str]:
        """Return everything that a student's run depends on besides its recipe and seed."""
        inputs = {"data": self.dataset.digest, "task": self.dataset.task.option, "precision": context.precision}
        inputs |= {f"teacher{index or ''}": run.digest for index, run in enumerate(self.teachers)}
        return inputs | ({"text model": self.text_model.digest} if self.text_model else {})

    def targets(self, recipe: StudentRecipe, context: TrainingContext) -> DistillationTargets | None:
        """Return the teachers' targets. They are computed once for all recipes with the same teacher settings."""
        uses = (recipe.teacher_share > 0, bool(recipe.alignment_weights))
        key = f"{recipe.teacher_weights} {uses} {context.device}"
        if key not in self._targets:
            teachers = [
                Teacher(load_model(run, context.device), spec.normalize(dataset).split("train"))
                for run, spec, dataset in zip(self.teachers, self.teacher_specs, self.teacher_datasets, strict=True)
            ]
            self._targets[key] = compute_targets(teachers, recipe, self.dataset.task, context.device)
        return self._targets[key]


def prepare_distillation(
    data: str | None,
    teachers: Sequence[Path],
    transfer: Sequence[str],
    task: str | None,
    text_model: Path | None = None,
) -> DistillationSetup:
    """Load the teachers and the data, and derive the student's spec.

    The student has the modalities of all teachers. If several teachers normalize the same modality, the student uses
    the normalization of the first one. If that one is imported and normalizes nothing, the student's is fitted on its
    training data. What the data does not state about its features is known from the teachers. A later teacher does not
    use a modality whose number of features in the data differs from the number that it was trained on.

    Args:
        data: Feature file (default: the data that the first teacher was trained on).
        teachers: Runs of train, import, distill or text.
        transfer: Feature files with additional training samples, labeled or not.
        task: Name of the task (default: the task that the data states).
        text_model: Run whose text encoder computes the student's language frames (default: the first teacher, if it
            takes text).

    Raises:
        DataError: A teacher has another task or cannot use the data, or a transfer file does not fit.
    """
    runs = tuple(load_run(path, "teacher", "student") for path in teachers)
    first = runs[0].spec
    source = open_unencoded_dataset_for_run(runs[0], data, task)
    transfers = [_open_transfer_file(file, first) for file in transfer]
    encoder_run = load_run(text_model) if text_model else runs[0] if first.text_input else None
    datasets = [_dataset_of(run, run.spec, source, transfers) for run in runs]
    first.select_inputs(datasets[0])
    usable = [
        first,
        *(_usable_spec(run, first, dataset) for run, dataset in zip(runs[1:], datasets[1:], strict=True)),
    ]
    spec = first
    for other in usable[1:]:
        spec = spec.merge(other)
    student_dataset = datasets[0]
    if encoder_run is not None:
        text_spec = require_text_model(encoder_run)
        spec = spec.merge(text_spec.select(["language"])).with_text_input(text_spec)
        student_dataset = _dataset_of(encoder_run, text_spec, source, transfers)
    unnormalized = spec.select_inputs(student_dataset)
    spec = spec.narrow_to(unnormalized).complete(unnormalized.split("train"))
    spec = dataclasses.replace(
        spec,
        data_source=data_source_for_run(runs[0], data),
        features=fill_features(unnormalized.features, spec.features),
        language_padding=False,
    )
    normalized = spec.normalize(unnormalized)
    print_notes(normalized.notes[len(source.notes) :], known=runs[0].was_made_from(source.digest))
    print_notes(dropped_frames_notes(normalized))
    return DistillationSetup(
        spec=spec,
        dataset=normalized,
        unnormalized=unnormalized,
        source=source,
        teachers=runs,
        teacher_specs=tuple(item.select([name for name in item.dims if name in spec.dims]) for item in usable),
        teacher_datasets=tuple(datasets),
        text_model=encoder_run if spec.text_input else None,
    )


def _dataset_of(run: Run, spec: ModelSpec, dataset: Dataset, transfers: Sequence[Dataset]) -> Dataset:
    """Return the dataset with the text encoding of a run, and the training samples of the transfer files appended."""
    encoded = [encode_texts_for_run(run, item) for item in transfers]
    return join_train_splits(encode_texts_for_run(run, dataset), [spec.select_inputs(item) for item in encoded])


def _usable_spec(run: Run, first: ModelSpec, dataset: Dataset) -> ModelSpec:
    """Return the spec of a later teacher, without modalities whose number of features differs in the data."""
    spec = run.spec
    if not spec.task.fits(first.task):
        raise DataError(
            f"All teachers must have the task of the first one, {first.task.option}, got {spec.task.option} for "
            f"{run.path}."
        )
    names = [name for name, dim in spec.dims.items() if dataset.dims.get(name, dim) == dim]
    unusable = [
        f"{name} (it expects {dim} features, got {dataset.dims[name]})"
        for name, dim in spec.dims.items()
        if name not in names
    ]
    if not any(name in dataset.dims for name in names):
        reason = ", ".join(unusable) or f"it takes {', '.join(spec.dims)}"
        raise DataError(f"{run.path} can use no modality of {dataset.name}: {reason}. Leave that teacher out.")
    print_notes(f"{run.path} does not use {item}" for item in unusable)
    return spec.select(names)


def _open_transfer_file(file: str, spec: ModelSpec) -> Dataset:
    """Open the training split of a transfer file. If the file states no task, it has the task of the first teacher."""
    try:
        dataset = open_dataset(file)
    except UnstatedTaskError:
        dataset = open_dataset(file, task=spec.task)
    print_notes(dataset.notes)
    # Archives keep the name of their corpus, so that the files of one corpus would have one name in messages.
    return dataclasses.replace(dataset, name=file, splits={"train": dataset.split("train")})
