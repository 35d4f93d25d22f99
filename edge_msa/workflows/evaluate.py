"""`edge-msa evaluate`: evaluate a run or a bundle on all subsets of modalities."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edge_msa.arguments import AnyPath, check_choice, optional_source, path_of
from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.benchmark.records import write_records
from edge_msa.console import activity, print_notes
from edge_msa.data.conversations import why_no_conversations
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.labeled import is_labeled
from edge_msa.data.opening import SYNTHETIC, SYNTHETIC_LONG, is_synthetic, open_and_report
from edge_msa.data.tasks import task_from_spec
from edge_msa.errors import DataError, RunUsageError, UnstatedTaskError, UsageError
from edge_msa.evaluation.conversation_memory import ContextFit, find_context
from edge_msa.evaluation.evaluate import Evaluation, Source, compare_evaluations, write_predictions
from edge_msa.evaluation.evaluate import evaluate as evaluate_model
from edge_msa.evaluation.intervals import StatedIntervals
from edge_msa.evaluation.metrics import measure
from edge_msa.evaluation.predictors import (
    run_predictor,
    select_session_inputs,
    session_intervals,
    session_predictor,
    session_source,
)
from edge_msa.evaluation.subsets import Predict
from edge_msa.training.run_data import data_source_for_run, open_dataset_for_run
from edge_msa.training.teachers.almt import truncation_notes
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_export.provenance import Provenance
from edge_msa_runtime import load
from edge_msa_runtime.bundle.loader import open_bundle
from edge_msa_runtime.bundle.manifest import MANIFEST_NAME
from edge_msa_runtime.cascade.loader import is_cascade, open_cascade
from edge_msa_runtime.conversation import ContextHead
from edge_msa_runtime.output_paths import check_distinct_outputs


@api
def evaluate(
    model: AnyPath,
    *,
    data: AnyPath | None = None,
    split: SplitName = "test",
    backend: str = "auto",
    precision: str | None = None,
    against: str | None = None,
    missing_frames: bool = False,
    predictions: AnyPath | None = None,
    output: AnyPath | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Measure the accuracy of a run or a bundle on every subset of modalities.

    Args:
        model: Any run, or a bundle: the result of a function such as `train` or `export`, or a path.
        data: Feature file, or `"synthetic"` (default: the data that the run was trained on).
        split: Split to measure on: `"train"`, `"valid"` or `"test"`.
        backend: Backend of a bundle (default: its first backend that is available here).
        precision: Precision of a bundle: `"fp32"`, `"fp16"`, `"int8"` or `"int4"` (default: the one that `export`
            chose).
        against: Another precision of the bundle to compare the predictions with.
        missing_frames: Whether to measure the prediction intervals of a bundle also on utterances that are unfinished,
            interrupted or incomplete.
        predictions: CSV file to write with id, label, subset and score of every prediction.
        output: JSON file to write with the metrics, for `report`.
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace existing files.
        verbose: Whether to print progress and notes.
        on_progress: Called after every subset.

    Returns:
        The metrics, as a table with one row per subset of modalities and per baseline.

    Raises:
        RunUsageError: `model` is neither a run nor a bundle.
        UsageError: An argument is invalid for the model.
        DataError: The data does not fit the model, or the split has no labels.
        BackendUnavailableError: The backend of a bundle is not available here.

    Examples:
        >>> table = em.evaluate("bundle", data="mosi.pkl")
        >>> print(table)  # for people
        >>> table.by_subset["lav"]["mae"]
        0.712
        >>> table.to_pandas()
    """
    path, source_path = path_of(model, "model", "a run, a bundle or the path of one"), optional_source(data)
    check_choice(split, "split", SplitName)
    inputs = [path, source_path]
    predictions_file = None if predictions is None else output_file(predictions, "predictions", inputs)
    output_path = None if output is None else output_file(output, "output", inputs)
    check_distinct_outputs(item for item in (predictions_file, output_path) if item is not None)
    source_data, opened = open_dataset_of(path, source_path, task)
    if not is_labeled(opened.split(split)).any():
        command = shlex.join(["edge-msa", "predict", str(path), "--data", source_data, "--split", split])
        raise DataError(
            f"The {split} split of {opened.name} has no labels, so it cannot be evaluated. Pass another --split, or "
            f"predict it: {command}"
        )
    with ExitStack() as stack:
        predictor = stack.enter_context(open_predictor(path, opened, backend=backend, precision=precision))
        predict, source, dataset = predictor.predict, predictor.source, predictor.dataset
        if missing_frames and predictor.intervals is None:
            raise UsageError(
                f"--missing-frames measures prediction intervals, which {path} does not have. Omit it, or export a "
                "bundle of a model that predicts scores."
            )
        # Open it before the slow evaluation, so that an invalid precision is reported at once.
        reference = None
        if against is not None:
            reference = stack.enter_context(open_predictor(path, opened, backend=backend, precision=against))
        optimum = find_bayes_optimum(source_data, dataset, split)
        context, notes = _find_context(predictor, split)
        dataset = replace(dataset, notes=(*dataset.notes, *notes))
        evaluation, scores = evaluate_model(
            predict,
            dataset,
            split,
            source,
            bayes_optimum=optimum,
            stated=predictor.intervals,
            missing_frames=missing_frames,
            context=context,
            reads_earlier=predictor.reads_earlier,
        )
        if reference is not None:
            other, reference_scores = evaluate_model(reference.predict, dataset, split, reference.source, resamples=0)
            evaluation = replace(evaluation, agreement=compare_evaluations(other, reference_scores, evaluation, scores))
    if predictions_file is not None:
        write_predictions(predictions_file, dataset.task, dataset.split(split), scores)
    if output_path is not None:
        write_records(output_path, evaluation)
    return evaluation


@dataclass(frozen=True)
class Predictor:
    """A run or a bundle that predicts."""

    predict: Predict
    """Predicts a split."""
    source: Source
    """What predicts."""
    dataset: Dataset
    """The dataset with only the modalities that it takes."""
    intervals: StatedIntervals | None = None
    """The prediction intervals that a bundle states."""
    context: ContextHead | None = None
    """The context head that a bundle states."""
    reads_earlier: int = 0
    """Number of earlier utterances that the text encoder reads."""


@contextmanager
def open_predictor(path: Path, dataset: Dataset, *, backend: str, precision: str | None) -> Iterator[Predictor]:
    """Yield the predictor of a run or a bundle.

    Raises:
        DataError: The dataset does not fit the model.
        RunUsageError: The path is neither a run nor a bundle.
        UsageError: A backend or a precision was passed for a run.
    """
    name = path.resolve().name
    if (path / INFO_NAME).is_file():
        if backend != "auto" or precision is not None:
            raise UsageError(f"--backend, --precision and --against are for bundles, but {path} is a run. Omit them.")
        run = load_run(path)
        selected = run.spec.select_inputs(dataset)
        if run.info.model == "almt":
            notes = (*selected.notes, *truncation_notes(selected, run.info.config["lengths"]))
            selected = replace(selected, notes=notes)
        reads_earlier = 0 if run.spec.text_input is None else run.spec.text_input.context
        yield Predictor(run_predictor(run), Source(name, "run"), selected, reads_earlier=reads_earlier)
        return
    if is_bundle_or_cascade(path):
        with load(path, backend=backend, precision=precision) as session:
            print_notes(session.bundle.notes)
            source = replace(session_source(session, session.backend), name=name)
            selected = select_session_inputs(session, dataset)
            manifest = session.manifest
            yield Predictor(
                session_predictor(session),
                source,
                selected,
                session_intervals(session),
                manifest.context,
                0 if manifest.language is None else manifest.language.context,
            )
        return
    raise neither_run_nor_bundle(path)


def _find_context(predictor: Predictor, split_name: SplitName) -> tuple[ContextFit | None, tuple[str, ...]]:
    """Return the context head of a bundle, or that which `export` would fit for a run, and notes about it."""
    dataset, is_bundle = predictor.dataset, predictor.source.kind == "bundle"
    if not dataset.task.is_score or (is_bundle and predictor.context is None):
        return None, ()
    if (reason := why_no_conversations(dataset.name, split_name, dataset.split(split_name))) is not None:
        return None, (reason,)
    if is_bundle:
        fitted = "the conversation memory of a bundle was fitted on its validation split: its gain there is optimistic"
        return ContextFit(predictor.context), (fitted,) if split_name == "valid" else ()
    with activity("Fitting the conversation memory on validation data"):
        fit = find_context(predictor.predict, dataset)
    fit = fit if split_name == "valid" else replace(fit, left_out={})
    return (fit if fit.note is None else None), (() if fit.note is None else (fit.note,))


def is_bundle_or_cascade(path: Path) -> bool:
    """Return whether a path is the folder of a bundle or of a cascade, which may be damaged."""
    return (path / MANIFEST_NAME).is_file() or is_cascade(path)


def neither_run_nor_bundle(path: Path) -> RunUsageError:
    """Return the error for a path that is neither a run nor a bundle."""
    problem = "is neither a run (run.json) nor a bundle (manifest.json)" if path.exists() else "does not exist"
    return RunUsageError(f"{path} {problem}. Pass a folder that train, distill, calibrate or export wrote.")


def find_bayes_optimum(source: str, dataset: Dataset, split: SplitName) -> dict[str, Mapping[str, float]] | None:
    """Return the Bayes optimum by subset for the synthetic dataset, else None.

    The source must be `synthetic` itself, because a file can contain a dataset with the same name.
    """
    if not is_synthetic(source):
        return None
    from edge_msa.data.synthetic.bayes_optimum import compute_bayes_optima, compute_class_posteriors
    from edge_msa.data.synthetic.world import world

    if dataset.task.kind == "classes":
        labels, posteriors = dataset.split(split).labels, compute_class_posteriors(dataset.split(split))
        return {
            subset: measure(dataset.task, labels, np.log(np.maximum(values, 1e-30)))
            for subset, values in posteriors.items()
        }
    task = world(real_lengths=source == SYNTHETIC_LONG)
    optima = compute_bayes_optima(dataset.split(split), task=task)
    return {subset: asdict(optimum) for subset, optimum in optima.items()}


def open_dataset_of(path: Path, data: str | None, task: str | None) -> tuple[str, Dataset]:
    """Return the data source and the dataset to evaluate a model on.

    Args:
        path: A run, a bundle or a cascade.
        data: The source (default: the data that a run was trained on, or the synthetic data of a bundle).
        task: Name of the task (default: what the data states, or else the task of the model).

    Raises:
        UsageError: The data is unknown or cannot be opened.
        DataError: The content cannot be used.
    """
    if (path / INFO_NAME).is_file():
        run = load_run(path)
        return data_source_for_run(run, data), open_dataset_for_run(run, data, task)
    if data is None:
        return _open_data_of_bundle(path, task)
    source = data
    stated = None
    if is_bundle_or_cascade(path):
        bundle = open_cascade(path).members[0] if is_cascade(path) else open_bundle(path)
        stated = task_from_spec(bundle.manifest.task)
    if task is None and stated is not None and stated.kind == "classes" and not is_synthetic(source):
        return source, open_and_report(source, stated, labeled=SPLITS)
    try:
        return source, open_and_report(source, task, labeled=SPLITS)
    except UnstatedTaskError:
        if stated is None:
            raise
        return source, open_and_report(source, stated, labeled=SPLITS)


def _open_data_of_bundle(path: Path, task: str | None) -> tuple[str, Dataset]:
    """Return the name and the content of the synthetic data that a bundle was made from.

    Raises:
        UsageError: The bundle was made from a file, which can also contain a part of the synthetic data.
    """
    if is_cascade(path):
        raise UsageError(f"{path} is a cascade. Pass the file to evaluate it on with --data.")
    if not (path / MANIFEST_NAME).is_file():
        return SYNTHETIC, open_and_report(SYNTHETIC, task, labeled=SPLITS)
    data = Provenance.from_json(open_bundle(path).manifest.provenance).data
    if data is None or not is_synthetic(data.name):
        raise UsageError(f"{path} was made from {data.name if data else 'a file'}. Pass this file with --data.")
    dataset = open_and_report(data.name, task, labeled=SPLITS)
    if dataset.digest != data.digest:
        raise UsageError(
            f"{path} was made from data named {data.name!r} with other samples than the built-in data of this name. "
            f"Pass the file that it was made from with --data, or --data {data.name}."
        )
    return data.name, dataset
