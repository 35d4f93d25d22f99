"""`edge-msa train`: train a teacher."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_tables, teacher_recipe
from edge_msa.config.teachers import TeacherName, TeacherRecipe, uses_msm
from edge_msa.console import format_metrics, print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.contextual_features import dropped_frames_notes
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.features import complete_features, load_features
from edge_msa.data.opening import open_and_report
from edge_msa.data.range_check import check_value_range
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.teachers.almt import TrainedAlmt, truncation_notes
from edge_msa.training.teachers.train import train_by_recipe
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa.training.text.text_input import copy_text_input
from edge_msa.workflows.baseline_warning import warn_if_no_better_than_constant
from edge_msa_runtime.features import FeatureSource, features_to_json


def train_teacher(
    data: str,
    output_dir: Path,
    *,
    model: TeacherName = "hrlf",
    recipe: Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    task: str | None = None,
    text_model: Path | None = None,
    features: Path | Mapping[str, Any] | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Train a teacher and write its run, unless an identical run exists.

    With several processes, the first one writes the run and returns. The others exit when the training ends.

    Args:
        data: Feature file, or `synthetic`.
        output_dir: Folder of the run.
        model: Architecture of the teacher.
        recipe: Recipe file or its tables (default: the preset for the data).
        epochs: Number of epochs of each stage (default: the recipe's).
        seed: Seed of every random choice.
        hardware: Device, precision and logging options.
        task: Name of the task (default: the task that the file states).
        text_model: Run whose text encoder computes the language frames (default: the language features of the file).
        features: TOML file, or its tables, with what computed the features if the data does not say it (default: none).
        in_pipeline: Whether to omit the suggestion of the next command.

    Raises:
        UsageError: The recipe or the data cannot be used, or `features` contradicts the data.
        DataError: The content of the data cannot be used for training.
        TrainingError: The training diverged.
    """
    context = (hardware or Hardware()).start()
    stated = load_features(features)
    dataset = open_and_report(data, task, labeled=SPLITS)
    text_run = load_run(text_model) if text_model else None
    run, is_new = train_on_dataset(
        dataset if text_run is None else encode_texts_with_run(text_run, dataset),
        data,
        output_dir,
        model=model,
        recipe=teacher_recipe(model, load_tables(recipe).get(model, {}), data, epochs=epochs),
        seed=seed,
        context=context,
        text_model=text_run,
        features=stated,
    )
    if is_new:
        next_command = f"edge-msa distill --teacher {output_dir} --output-dir student"
        print_output("teacher", output_dir, None if in_pipeline else next_command)
    return run


def train_on_dataset(
    dataset: Dataset,
    source: str,
    output_dir: Path,
    *,
    model: TeacherName,
    recipe: TeacherRecipe,
    seed: int,
    context: TrainingContext,
    reported: Collection[str] = (),
    text_model: Run | None = None,
    features: Mapping[str, FeatureSource] | None = None,
) -> tuple[Run, bool]:
    """Train a teacher on an opened dataset, unless an identical run exists.

    Args:
        dataset: Dataset before normalization.
        source: Where the dataset comes from, as recorded in the run.
        output_dir: Folder of the run.
        model: Architecture of the teacher.
        recipe: Recipe of the teacher.
        seed: Seed of every random choice.
        context: Hardware to train on.
        reported: Notes that were printed before and are not repeated.
        text_model: Run whose text encoder computed the language frames.
        features: What computed the features, as far as the dataset does not state it.

    Returns:
        The run, and whether it is new.
    """
    spec = ModelSpec.for_training(dataset, source)
    if text_model is not None:
        spec = spec.with_text_input(text_model.spec)
    if features:
        spec = dataclasses.replace(spec, features=complete_features(spec.features, features, spec.dims, dataset.name))
    settings = recipe.model_dump()
    inputs = {"data": dataset.digest, "task": dataset.task.kind, "precision": context.precision}
    inputs |= {"text model": text_model.digest} if text_model is not None else {}
    inputs |= {"features": json.dumps(features_to_json(features))} if features else {}
    request = Request(f"train {model}", settings, seed, inputs, {"data": source})
    if run := find_current_shared_run(output_dir, request, context):
        print_up_to_date(output_dir)
        return run, False
    check_value_range(dataset, spec.dims)
    normalized = spec.normalize(dataset)
    notes = [*normalized.notes[len(dataset.notes) :], *(dropped_frames_notes(normalized) if uses_msm(recipe) else ())]
    print_notes(note for note in notes if note not in reported)
    with new_shared_run(output_dir, request.cache_key, context) as work:
        trained = train_by_recipe(normalized, recipe, seed=seed, context=context, work_dir=work)
        context.exit_other_processes()
        if text_model is not None and spec.text_input:
            copy_text_input(text_model.path, work)
        info = RunInfo(
            kind="teacher",
            model=model,
            **request.to_json(),
            config=dataclasses.asdict(trained.config),
            spec=spec,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    if isinstance(trained, TrainedAlmt):
        print_notes(truncation_notes(normalized, trained.config.lengths))
    print_result(f"validation: {format_metrics(trained.metrics)}")
    run = load_run(output_dir)
    warn_if_no_better_than_constant(run, dataset, context)
    return run, True
