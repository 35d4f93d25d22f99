"""`edge-msa predict`: predict all samples of a file with a run or a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.console import print_json, print_notes, print_output, print_result
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.opening import SYNTHETIC, open_dataset
from edge_msa.data.tasks import Task, find_task
from edge_msa.deployment.request import make_task_spec
from edge_msa.evaluation.predictors import select_session_inputs
from edge_msa.evaluation.subsets import Predict
from edge_msa.training.run_data import encode_texts_for_run
from edge_msa.workflows.evaluate import neither_run_nor_bundle, open_predictor
from edge_msa_runtime import load
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME, TaskSpec
from edge_msa_runtime.inputs.samples import Sample
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


def predict_file(
    path: Path,
    data: str,
    *,
    split: SplitName | None = None,
    backend: str = "auto",
    precision: str | None = None,
    output: Path | None = None,
    json: bool = False,
) -> list[PredictedSample]:
    """Predict all samples of a file from all modalities that each has, and write or print the predictions.

    Args:
        path: A run or a bundle.
        data: Feature file or transcripts. Labels are ignored, and the file need not state its task.
        split: The split to predict; None for all.
        backend: The backend of a bundle.
        precision: The precision of a bundle; None for the one that was chosen at export.
        output: .csv or .json file for the predictions; None to print them as CSV.
        json: Print a summary as JSON.

    Raises:
        RunUsageError: The path is neither a run nor a bundle.
        UsageError: An option is invalid for the path.
        DataError: The data does not fit the model.
    """
    if output is not None:
        check_suffix(output)
    if (path / INFO_NAME).is_file():
        task, predicted = _predict_with_run(path, data, split, backend, precision)
    elif (path / MANIFEST_NAME).is_file():
        task, predicted = _predict_with_bundle(path, data, split, backend, precision)
    else:
        raise neither_run_nor_bundle(path)
    summary = summarize(predicted)
    print_notes(summary[1:])
    source = {"model": path.resolve().name, "data": data if data == SYNTHETIC else Path(data).name}
    if output is None:
        print_result(format_csv(predicted, task).rstrip("\n"))
    else:
        write_predictions(output, predicted, task, source)
        print_result(summary[0])
        print_output("predictions", output)
    if json:
        done = sum(bool(item.subset) for item in predicted)
        print_json({**source, "samples": len(predicted), "predicted": done, "output": output and str(output)})
    return predicted


def _predict_with_run(
    path: Path, data: str, split: SplitName | None, backend: str, precision: str | None
) -> tuple[TaskSpec, list[PredictedSample]]:
    run = load_run(path)
    encoded = encode_texts_for_run(run, _open(data, run.spec.task, split))
    with open_predictor(path, encoded, backend=backend, precision=precision) as (predict, _, dataset):
        print_notes(dataset.notes)
        task = make_task_spec(run.spec.task)
        return task, _predict_splits(predict, dataset, task)


def _predict_splits(predict: Predict, dataset: Dataset, task: TaskSpec) -> list[PredictedSample]:
    predicted: list[PredictedSample] = []
    for name, part in dataset.splits.items():
        rows = {row: PredictedSample(part.ids[row], name, warnings=(NO_FRAME,)) for row in range(len(part))}
        for subset, members in _rows_by_subset(part).items():
            scores = np.asarray(predict(part.select(members), subset), np.float32).reshape(len(members), -1)
            for row, outputs in zip(members.tolist(), scores.tolist(), strict=True):
                prediction = make_prediction(
                    outputs,
                    task,
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
        stated = dataclasses.replace(find_task(task.kind), labels=task.labels, edges=task.edges)
        dataset = select_session_inputs(session, _open(data, stated, split))
        has_text = session.manifest.language is not None
        modalities, _ = usable_modalities(session, MODALITIES, has_text=has_text)
        print_notes((*session.bundle.notes, *dataset.notes))
        predicted = predict_samples(session, _samples(dataset.splits, has_text=has_text), modalities)
    return task, predicted


def _samples(splits: Mapping[SplitName, Split], *, has_text: bool) -> Iterator[Sample]:
    for name, split in splits.items():
        for row, sample in enumerate(split.ids):
            yield Sample(sample, name, split.sample(row), text=split.texts[row] if has_text else None)


def _open(data: str, task: Task, split: SplitName | None) -> Dataset:
    """Open data without labels. The synthetic data has its own task."""
    dataset = open_dataset(data) if data == SYNTHETIC else open_dataset(data, task=task, labels=False)
    if split is None:
        return dataset
    return dataclasses.replace(dataset, splits={split: dataset.split(split)})
