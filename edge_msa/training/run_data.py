"""Open data for a run, by default its training data, and compute language frames with its text encoder."""

from __future__ import annotations

from pathlib import Path

from edge_msa.artifacts.runs import Run
from edge_msa.console import print_notes
from edge_msa.data.dataset import Dataset
from edge_msa.data.labeled import keep_labeled
from edge_msa.data.opening import is_synthetic, open_dataset
from edge_msa.data.tasks import parse_task
from edge_msa.errors import UnstatedTaskError, UsageError
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa_runtime.features import UNKNOWN, mismatch_warning


def open_dataset_for_run(run: Run, source: str | None, task_name: str | None) -> Dataset:
    """Open data for a run, compute language frames if the run has a text encoder, and print notes on stderr.

    Args:
        run: Any run.
        source: Data to open (default: the data that the run was trained on).
        task_name: Name of the task (default: the task that the data states). The training data of the run, and data
            that states no task, have the task of the run by default.

    Raises:
        UsageError: The data is unknown or cannot be opened.
        DataError: The content cannot be used.
    """
    return encode_texts_for_run(run, open_unencoded_dataset_for_run(run, source, task_name))


def open_unencoded_dataset_for_run(run: Run, source: str | None, task_name: str | None) -> Dataset:
    """Open data as `open_dataset_for_run` does, but do not encode texts.

    Notes about the run's own training data were printed by its training, so they are printed only with `--verbose`.
    A note says if the data has other features than the run was trained on.
    Unlabeled samples of the valid and test splits are left out: their labels select and measure models.
    """
    dataset = keep_labeled(_open(run, data_source_for_run(run, source), task_name), ("valid", "test"))
    known = run.was_made_from(dataset.digest)
    print_notes(dataset.notes, known=known)
    if not known:
        expected = {name: run.spec.features.get(name, UNKNOWN) for name in run.spec.feature_modalities}
        print_notes(filter(None, [mismatch_warning(expected, dataset.features, dataset.name)]))
    return dataset


def encode_texts_for_run(run: Run, dataset: Dataset) -> Dataset:
    """Return the dataset with the language frames of the run's text encoder; unchanged if the run has none."""
    return encode_texts_with_run(run, dataset) if run.spec.text_input else dataset


def data_source_for_run(run: Run, source: str | None) -> str:
    """Return `source`, or the data that the run was trained on if `source` is None.

    Raises:
        UsageError: Neither is known, or the training data is not where it was.
    """
    if source:
        return source
    known = run.spec.data_source
    if not known:
        raise UsageError(f"{run.path} is an imported checkpoint, so its training data is unknown. Pass --data FILE.")
    if not is_synthetic(known) and not Path(known).exists():
        place = "" if Path(known).is_absolute() else f", relative to the folder of that training (now in {Path.cwd()})"
        raise UsageError(
            f"{known} does not exist. The run {run.path} recorded this path of its training data{place}. "
            "Pass the file with --data."
        )
    return known


def _open(run: Run, source: str, task_name: str | None) -> Dataset:
    if task_name is not None or is_synthetic(source):
        return open_dataset(source, task=parse_task(task_name))
    if run.spec.task.kind == "classes":
        return open_dataset(source, task=run.spec.task)  # a file may name other classes, or in another order
    try:
        dataset = open_dataset(source)
    except UnstatedTaskError:
        return open_dataset(source, task=run.spec.task)
    if dataset.task != run.spec.task and run.was_made_from(dataset.digest):
        return open_dataset(source, task=run.spec.task)
    return dataset
