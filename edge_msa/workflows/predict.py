"""`edge-msa predict`: predict all samples of a file with a run or a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edge_msa.arguments import AnyPath, check_choice, path_of, source_of
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.console import print_notes
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.opening import is_synthetic, open_dataset
from edge_msa.data.tasks import Task, task_from_spec
from edge_msa.deployment.request import make_task_spec
from edge_msa.evaluation.predictors import select_session_inputs
from edge_msa.evaluation.subsets import Predict
from edge_msa.result_tables import Row, Table
from edge_msa.training.run_data import encode_texts_for_run
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.evaluate import is_bundle_or_cascade, neither_run_nor_bundle, open_predictor
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime import load
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.inputs.samples import Sample
from edge_msa_runtime.interpretation import make_interpreter
from edge_msa_runtime.modalities import MODALITIES, Subset
from edge_msa_runtime.prediction import make_prediction
from edge_msa_runtime.prediction_files import (
    NO_FRAME,
    PredictedSample,
    check_suffix,
    format_csv,
    predict_samples,
    summarize,
    usable_modalities,
    write_predictions,
)


@dataclasses.dataclass(frozen=True, repr=False)
class Predictions(Table):
    """The predictions of all samples of a file, in its order. It is a sequence of `PredictedSample`."""

    model: str
    """Name of the run or bundle."""
    data: str
    """Name of the file, or `synthetic`."""
    task: TaskSpec
    """What the scores mean."""
    samples: tuple[PredictedSample, ...]
    """One per sample; a sample that could not be predicted has an empty subset, and a warning says why."""

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[PredictedSample]:
        return iter(self.samples)

    def __getitem__(self, index: int) -> PredictedSample:
        return self.samples[index]

    def __repr__(self) -> str:
        """Return how many samples were predicted."""
        return f"<Predictions of {self.model} on {self.data}: {self.summary}>"

    def __str__(self) -> str:
        """Return the predictions as CSV."""
        return format_csv(self.samples, self.task).rstrip("\n")

    @property
    def summary(self) -> str:
        """How many samples were predicted, and how many of each label."""
        return summarize(self.samples)[0]

    @property
    def predicted(self) -> int:
        """Number of samples that have a prediction."""
        return sum(bool(item.subset) for item in self.samples)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per sample: id, split, subset, score, label, probabilities of classes or emotions, and warnings."""
        names = self.task.labels if self.task.kind in {"emotions", "classes"} else ()
        return tuple(
            {
                "id": item.id,
                "split": item.split,
                "subset": item.subset,
                "score": item.score,
                "label": item.label,
                **{f"probability.{name}": item.probabilities.get(name) for name in names},
                "warnings": "; ".join(item.warnings),
            }
            for item in self.samples
        )


@api
def predict(
    model: AnyPath,
    *,
    data: AnyPath,
    split: SplitName | None = None,
    backend: str = "auto",
    precision: str | None = None,
    output: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Predictions:
    """Predict every sample of a file, labeled or not, from all modalities that it has.

    To predict arrays, or frames as they arrive, open a bundle with `edge_msa_runtime.load`.

    Args:
        model: Any run, or a bundle: the result of a function such as `train` or `export`, or a path.
        data: Feature file or transcripts, or `"synthetic"`. Labels are ignored, and the file need not state its task.
        split: Split to predict (default: all).
        backend: Backend of a bundle (default: its first backend that is available here).
        precision: Precision of a bundle (default: the one that `export` chose).
        output: File to write with the predictions, `.csv` or `.json`.
        overwrite: Whether to replace an existing file.
        verbose: Whether to print progress and notes.
        on_progress: Not called: the prediction is one step.

    Returns:
        The predictions, one per sample, in the order of the file.

    Raises:
        RunUsageError: `model` is neither a run nor a bundle.
        UsageError: An argument is invalid for the model.
        DataError: The data does not fit the model.
        BackendUnavailableError: The backend of a bundle is not available here.

    Examples:
        >>> predictions = em.predict("bundle", data="new.csv")
        >>> predictions[0].score, predictions[0].label
        (1.23, 'positive')
    """
    path, source = path_of(model, "model", "a run, a bundle or the path of one"), source_of(data)
    if split is not None:
        check_choice(split, "split", SplitName)
    output_path = None if output is None else output_file(output, "output", [path, source])
    if output_path is not None:
        check_suffix(output_path)
    if (path / INFO_NAME).is_file():
        task, predicted = _predict_with_run(path, source, split, backend, precision)
    elif is_bundle_or_cascade(path):
        task, predicted = _predict_with_bundle(path, source, split, backend, precision)
    else:
        raise neither_run_nor_bundle(path)
    print_notes(summarize(predicted)[1:])
    name = source if is_synthetic(source) else Path(source).name
    result = Predictions(path.resolve().name, name, task, tuple(predicted))
    if output_path is not None:
        write_predictions(output_path, predicted, task, {"model": result.model, "data": result.data})
    return result


def _predict_with_run(
    path: Path, data: str, split: SplitName | None, backend: str, precision: str | None
) -> tuple[TaskSpec, list[PredictedSample]]:
    run = load_run(path)
    encoded = encode_texts_for_run(run, _open(data, run.spec.task, split))
    with open_predictor(path, encoded, backend=backend, precision=precision) as model:
        print_notes(model.dataset.notes)
        task = make_task_spec(run.spec.task)
        return task, _predict_splits(model.predict, model.dataset, task)


def _predict_splits(predict: Predict, dataset: Dataset, task: TaskSpec) -> list[PredictedSample]:
    predicted: list[PredictedSample] = []
    interpreter = make_interpreter(task)
    for name, part in dataset.splits.items():
        rows = {row: PredictedSample(part.ids[row], name, warnings=(NO_FRAME,)) for row in range(len(part))}
        for subset, members in _rows_by_subset(part).items():
            scores = np.asarray(predict(part.select(members), subset), np.float32).reshape(len(members), -1)
            for row, outputs in zip(members.tolist(), scores.tolist(), strict=True):
                prediction = make_prediction(
                    outputs,
                    interpreter,
                    subset=subset.value,
                    backend="torch",
                    device="cpu",
                    precision="fp32",
                    latency_ms=0.0,
                )
                rows[row] = PredictedSample.of(part.ids[row], name, prediction)
        predicted += rows.values()
    return predicted


def _rows_by_subset(split: Split) -> dict[Subset, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Return the rows of the samples that have exactly the modalities of a subset, for every subset that occurs."""
    rows: dict[Subset, list[int]] = {}
    for row in range(len(split)):
        names = [name for name, frames in split.modalities.items() if frames.valid[row].any()]
        if names:
            rows.setdefault(Subset.of(names), []).append(row)
    return {subset: np.array(members, np.int64) for subset, members in rows.items()}


def _predict_with_bundle(
    path: Path, data: str, split: SplitName | None, backend: str, precision: str | None
) -> tuple[TaskSpec, list[PredictedSample]]:
    with load(path, backend=backend, precision=precision) as session:
        task = session.manifest.task
        dataset = select_session_inputs(session, _open(data, task_from_spec(task), split))
        has_text = session.manifest.language is not None
        modalities, _ = usable_modalities(session, MODALITIES, has_text=has_text)
        print_notes((*session.bundle.notes, *dataset.notes))
        predicted = predict_samples(session, _samples(dataset.splits, has_text=has_text), modalities)
    return task, predicted


def _samples(splits: Mapping[SplitName, Split], *, has_text: bool) -> Iterator[Sample]:
    for name, split in splits.items():
        for row, sample in enumerate(split.ids):
            frames, valid = split.masked_sample(row)
            yield Sample(
                sample,
                name,
                frames,
                valid,
                text=split.texts[row] if has_text else None,
                earlier=split.earlier[row] if split.earlier else (),
            )


def _open(data: str, task: Task, split: SplitName | None) -> Dataset:
    """Open data without labels. The synthetic data has its own task."""
    dataset = open_dataset(data) if is_synthetic(data) else open_dataset(data, task=task, labels=False)
    if split is None:
        return dataset
    return dataclasses.replace(dataset, splits={split: dataset.split(split)})
