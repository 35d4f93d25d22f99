"""`edge-msa train`: train a teacher."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_choice, check_seed, path_or_tables, source_of
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_table, teacher_recipe
from edge_msa.config.teachers import TeacherName, TeacherRecipe, uses_msm
from edge_msa.console import format_metrics, print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.contextual_features import dropped_frames_notes
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.features import complete_features, load_features
from edge_msa.data.opening import SYNTHETIC, open_and_report
from edge_msa.data.range_check import check_value_range
from edge_msa.training.context import Precision, TrainingContext
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.teachers.almt import TrainedAlmt, truncation_notes
from edge_msa.training.teachers.train import train_by_recipe
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa.training.text.text_input import copy_text_input
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.baseline_warning import warn_if_no_better_than_constant
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_folder
from edge_msa_runtime.features import FeatureSource, features_to_json


@api
def train(
    data: AnyPath = SYNTHETIC,
    *,
    output_dir: AnyPath,
    model: TeacherName = "hrlf",
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    tensorboard: AnyPath | None = None,
    task: str | None = None,
    text_model: AnyPath | None = None,
    features: AnyPath | Mapping[str, Any] | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Train a teacher model, HRLF or ALMT, and write its run.

    The training is skipped if `output_dir` has the same training already. An interrupted training continues where it
    stopped when you call the function again. Under `torchrun` or `fabric run`, the first process writes the run and
    returns, and the others exit when the training ends.

    Args:
        data: Feature file with the splits train and valid, or `"synthetic"` for the built-in synthetic data.
        output_dir: Folder of the run. It appears only when it is complete.
        model: Architecture of the teacher, `"hrlf"` or `"almt"`.
        recipe: Settings of the model, for example `{"batch_size": 32}`, or a TOML file (default: the preset for the
            data). Settings can be in a table with the name of the model, `{"hrlf": {"batch_size": 32}}`.
        epochs: Number of epochs of each training stage, instead of the recipe's. HRLF has two stages.
        seed: Seed of every random choice, 0 to 2**32 - 1.
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"` uses `"bf16"` on GPUs that support it, and `"32"` elsewhere.
        compiled: Whether to compile the network with torch.compile.
        tensorboard: Folder for TensorBoard event files (default: none).
        task: What the labels mean: `"mosi"`, `"sims"`, `"emotions"`, `"regression"`, `"classes"`, or with the names of
            the classes in their order `"classes:sad,happy"` (default: what the file states).
        text_model: Run of `train_text` or `distill_text`, whose text encoder computes the language features from the
            transcripts (default: the language features of the file).
        features: TOML file or mapping that states what computed the features, as far as the data does not
            (default: nothing).
        overwrite: Whether to replace a run of other data, another recipe or another seed in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The run. `run.metrics` has the validation metrics.

    Raises:
        UsageError: An argument, the recipe or the data cannot be used, or `features` contradicts the data.
        RunUsageError: `output_dir` contains something else.
        DataError: The content of the data cannot be used for training.
        TrainingError: The training diverged.

    Examples:
        >>> import edge_msa as em
        >>> em.train("mosi.pkl", model="hrlf", epochs=5, output_dir="teacher")
        <Run teacher hrlf, validation MAE 0.712 (mean over subsets), teacher/>
    """
    source = source_of(data)
    check_choice(model, "model", TeacherName)
    check_seed(seed)
    run_dir = output_folder(output_dir, "output_dir", [source, text_model, recipe, features])
    stated = load_features(path_or_tables(features, "features"))
    text_run = load_run(text_model) if text_model is not None else None
    context = start_hardware(device, precision, compiled=compiled, tensorboard=tensorboard)
    dataset = open_and_report(source, task, labeled=SPLITS)
    if text_run is None:
        print_notes(_unused_texts(dataset, source))
    run, is_new = train_on_dataset(
        dataset if text_run is None else encode_texts_with_run(text_run, dataset),
        source,
        run_dir,
        model=model,
        recipe=teacher_recipe(model, load_table(recipe, model), source, epochs=epochs),
        seed=seed,
        context=context,
        text_model=text_run,
        features=stated,
    )
    if is_new:
        words = "" if text_model is None else f" --text-model {text_model}"
        print_output("teacher", run_dir, next_step(f"edge-msa distill --teacher {run_dir}{words} --output-dir student"))
    return run


def _unused_texts(dataset: Dataset, source: str) -> Iterator[str]:
    """Yield a note if the data has texts that the training does not use."""
    count = sum(bool(text.strip()) for text in dataset.split("train").texts)
    if count and dataset.dims and "language" not in dataset.dims:
        yield (
            f"{count} training samples of {source} have texts, which are not used, because there are no language "
            f"features. To use them, run edge-msa text train --transcripts {source} --encoder wordpieces --output-dir "
            f"words, then edge-msa train --data {source} --text-model words"
        )


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
        spec = dataclasses.replace(spec, features=complete_features(spec.features, features, spec.dims, source))
    settings = recipe.model_dump()
    inputs = {"data": dataset.digest, "task": dataset.task.option, "precision": context.precision}
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
