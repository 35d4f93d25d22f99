"""`edge-msa reproduce`: train a method with several seeds, and compare its test metrics with the published ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_choice, check_count, source_of
from edge_msa.artifacts.dry_run import declare_steps, end_dry_run, independent_step, is_dry_run
from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import INFO_NAME, Run, load_run
from edge_msa.config.recipes import load_table, preset_names, teacher_recipe
from edge_msa.config.teachers import TeacherRecipe
from edge_msa.console import print_note, print_notes, print_result, print_step, report_progress
from edge_msa.data.contextual_features import dropped_frames_notes
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.opening import SYNTHETIC, open_and_report
from edge_msa.errors import RunError, RunUsageError, UsageError
from edge_msa.evaluation.metrics import describe, measure
from edge_msa.evaluation.predictors import run_predictor
from edge_msa.evaluation.reproduction.conditions import predict_conditions
from edge_msa.evaluation.reproduction.plots import PLOT_NAMES, write_plots
from edge_msa.evaluation.reproduction.prediction_cache import INFO_NAME as PREDICTIONS_INFO_NAME
from edge_msa.evaluation.reproduction.prediction_cache import (
    Predictions,
    load_test_predictions,
    prediction_cache_key,
    write_test_predictions,
)
from edge_msa.evaluation.reproduction.published import ModelName, PaperName, find_paper, find_published_table
from edge_msa.evaluation.reproduction.record import NAME, Reproduction
from edge_msa.evaluation.reproduction.summary import ReproductionConfig, TrainedVariant, summarize, variant_conditions
from edge_msa.evaluation.reproduction.table import format_reproduction
from edge_msa.evaluation.reproduction.variants import (
    FULL_METHOD,
    Variant,
    find_ablations,
    published_hrlf_preset,
)
from edge_msa.evaluation.subsets import available_subsets
from edge_msa.result_tables import Row, Table
from edge_msa.training.context import Precision, TrainingContext
from edge_msa.training.shared_runs import require_single_process
from edge_msa.training.text.encode_dataset import encode_texts_with_run
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_container
from edge_msa.workflows.train import train_on_dataset
from edge_msa_runtime.output_paths import CONTAINER, check_output


@dataclass(frozen=True, repr=False)
class ReproductionResult(Table):
    """The record of a reproduction, and the files that show it."""

    record: Reproduction
    """All metrics of all variants, with baselines and differences."""
    path: Path
    """The file `reproduce.json`."""
    plots: tuple[Path, ...]
    """The plots."""

    def __repr__(self) -> str:
        """Return the method, the data and the headline metric."""
        record = self.record
        value = record.full.conditions[record.complete][record.headline].mean
        metric = describe(record.headline)
        return (
            f"<ReproductionResult {record.model} on {record.dataset}, {len(record.seeds)} seeds: "
            f"{metric.title} {metric.format(value)} on {record.complete}>"
        )

    def __str__(self) -> str:
        """Return the tables for people: the published metrics beside these."""
        return format_reproduction(self.record)

    @property
    def rows(self) -> tuple[Row, ...]:
        """One row per variant, condition, metric and seed."""
        return tuple(
            {"variant": variant.name, "condition": condition, "metric": metric, "seed": seed, "value": value}
            for variant in self.record.variants
            for condition, metrics in variant.conditions.items()
            for metric, summary in metrics.items()
            for seed, value in zip(self.record.seeds, summary.values, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.record.to_json()


@api
def reproduce(
    model: ModelName,
    *,
    output_dir: AnyPath,
    data: AnyPath = SYNTHETIC,
    seeds: int = 5,
    paper: PaperName | None = None,
    ablations: bool = False,
    noise: bool = False,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    task: str | None = None,
    text_model: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> ReproductionResult:
    """Train a method with several seeds, and compare its test metrics with the published ones.

    The test split is predicted once with each run. Trainings and predictions that are up to date are reused, so an
    interrupted call continues where it stopped.

    Args:
        model: The method, `"hrlf"` or `"almt"`.
        output_dir: Folder for the runs, the record `reproduce.json` and the plots.
        data: Feature file with train, valid and test splits, or `"synthetic"`.
        seeds: Number of trainings, with seeds 0, 1, ..., at most 100.
        paper: Corpus whose published table is shown: `"mosi"`, `"mosei"`, `"iemocap"`, `"sims"` or `"none"` (default:
            inferred from the task and the sizes of the splits).
        ablations: Whether to train the ablations of the paper, and the method as published, as well.
        noise: Whether to measure robustness to noise as well.
        recipe: Settings of the model, or a TOML file, as in `train`.
        epochs: Number of epochs of each training stage, instead of the recipe's.
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"`, `"32"` or `"bf16"`.
        compiled: Whether to compile the network with torch.compile.
        task: What the labels mean (default: what the data states).
        text_model: Run whose text encoder computes the language features (default: those of the file).
        overwrite: Whether to replace runs of other recipes in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch, and with the step `"seed"` after every training.

    Returns:
        The record. `print` shows its tables; `rows` has one row per variant, condition, metric and seed.

    Raises:
        UsageError: An argument is invalid, or the folder contains something else.
        DataError: A split is missing or empty.
        TrainingError: A training diverged.

    Examples:
        >>> print(em.reproduce("hrlf", data="mosi.pkl", seeds=3, output_dir="reproduction"))
    """
    check_choice(model, "model", ModelName)
    source = source_of(data)
    check_count(seeds, "seeds", most=100)
    if paper is not None:
        check_choice(paper, "paper", PaperName)
    folder = output_container(output_dir, "output_dir", [source, text_model, recipe])
    table = load_table(recipe, model)
    require_single_process("reproduce")
    context = start_hardware(device, precision, compiled=compiled)
    text_run = load_run(text_model) if text_model is not None else None
    dataset = _open_data(source, task, text_run)
    corpus, paper_note = find_paper(dataset, paper)
    table, recipe_notes = _start_recipe(model, corpus, table)
    notes = [*filter(None, [paper_note]), *recipe_notes]
    chosen = find_ablations(model, corpus) if ablations else ()
    variants = dict(distinct_variants(model, table, source, epochs, dataset, chosen))
    check_output_dir(folder, model, dataset)
    data_notes = (
        *dataset.notes,
        *ModelSpec.for_training(dataset, source).normalization.notes,
        *dropped_frames_notes(dataset),
    )
    print_notes([*notes, *(note for note in data_notes if note not in dataset.notes)])
    trained = [
        _train_variant(
            variant,
            variant_recipe,
            dataset,
            source,
            folder,
            model=model,
            seeds=seeds,
            context=context,
            printed_notes=data_notes,
            text_model=text_run,
        )
        for variant, variant_recipe in variants.values()
    ]
    declare_steps([("summarize", folder / NAME)])
    end_dry_run()
    config = ReproductionConfig(
        model,
        corpus,
        json.loads(json.dumps(variants[FULL_METHOD.name][1].model_dump())),
        tuple(range(seeds)),
        noise,
        (*notes, *data_notes),
    )
    record = summarize(config, dataset, trained)
    return _write_record(record, folder)


def check_output_dir(output_dir: Path, model: ModelName, dataset: Dataset) -> None:
    """Check that a folder does not exist, or contains only this reproduction, finished or not.

    Raises:
        UsageError: It is a file.
        RunUsageError: It contains something else.
    """
    check_output(output_dir, CONTAINER)
    for entry in sorted(output_dir.iterdir()) if output_dir.is_dir() else ():
        if entry.name.startswith(".") or entry.name in {NAME, *PLOT_NAMES}:
            continue
        if not (entry / INFO_NAME).is_file() or not re.fullmatch(rf"{model}-.+-seed\d+", entry.name):
            raise RunUsageError(
                f"{output_dir} contains {entry.name}, which does not belong to a reproduction of {model}. "
                "Pass another --output-dir. Nothing was changed."
            )
        if _training_data(entry) not in {(dataset.digest, dataset.task.option), None}:
            raise RunUsageError(
                f"{entry} was trained on other data than {dataset.name}, or for another task. "
                "Pass another --output-dir. Nothing was changed."
            )


def _training_data(run: Path) -> tuple[str, str] | None:
    """Return digest and task of the training data of a run, or None if the run is damaged and will be trained again."""
    try:
        inputs = load_run(run).info.inputs
    except RunError:
        return None
    return inputs.get("data", ""), inputs.get("task", "")


def _open_data(data: str, task: str | None, text_run: Run | None) -> Dataset:
    """Open a dataset that has all splits, with the language frames of a run's text encoder if there is a run.

    Raises:
        UsageError: No sample of the test split has a valid frame.
        DataError: A split is missing or empty.
    """
    dataset = open_and_report(data, task, labeled=SPLITS)
    if text_run is not None:
        dataset = encode_texts_with_run(text_run, dataset)
    for name in SPLITS:
        dataset.split(name)
    if not any(available_subsets(dataset.split("test"))):
        raise UsageError(f"No sample of the test split of {dataset.name} has a valid frame.")
    return dataset


def _start_recipe(
    model: ModelName, corpus: PaperName, table: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Return the recipe of the full method, with notes on what differs from the paper.

    The recipe starts from the settings of the paper for the corpus, unless the recipe file names a preset.
    """
    notes = []
    if corpus != "none" and not find_published_table(model, corpus).rows:
        notes.append(f"the paper of {model.upper()} has no table for {corpus.upper()}")
    if corpus in preset_names(model) and "preset" not in table:
        table = {"preset": corpus, **table}
        notes.append(f"the recipe starts from the preset {corpus}, the settings of the paper for this corpus")
    if model == "hrlf" and table.get("preset") != (published := published_hrlf_preset(corpus)):
        notes.append(
            f"the full method uses this project's objective; HRLF as published is the preset {published}, "
            "which --ablations trains as well"
        )
    return table, notes


def distinct_variants(
    model: ModelName,
    table: Mapping[str, Any],
    data: str,
    epochs: int | None,
    dataset: Dataset,
    ablations: Sequence[Variant],
) -> Iterator[tuple[str, tuple[Variant, TeacherRecipe]]]:
    """Yield the full method and each ablation that differs from it, with its recipe, by name."""
    full = teacher_recipe(model, table, data, epochs=epochs)
    yield FULL_METHOD.name, (FULL_METHOD, full)
    for variant in ablations:
        remaining = set(dataset.dims) - set(variant.changes.get("without", ()))
        if not remaining or ("without" in variant.changes and len(remaining) == len(dataset.dims)):
            print_note(f"Skipping {variant.title}, because {dataset.name} has only {', '.join(dataset.dims)}.")
            continue
        recipe = teacher_recipe(model, variant.table(table), data, epochs=epochs)
        if recipe != full:
            yield variant.name, (variant, recipe)


def _train_variant(
    variant: Variant,
    recipe: TeacherRecipe,
    dataset: Dataset,
    source: str,
    output_dir: Path,
    *,
    model: ModelName,
    seeds: int,
    context: TrainingContext,
    printed_notes: tuple[str, ...],
    text_model: Run | None,
) -> TrainedVariant:
    """Train a variant with all seeds, and predict the test split once with each run."""
    names, predictions = [], []
    for seed in range(seeds):
        print_step(f"{model} {variant.title}, seed {seed}")
        folder = output_dir / f"{model}-{variant.name}-seed{seed}"
        declare_steps([(f"train {variant.title}, seed {seed}", folder)])
        with independent_step():
            run, _ = train_on_dataset(
                dataset,
                source,
                folder,
                model=model,
                recipe=recipe,
                seed=seed,
                context=context,
                reported=printed_notes,
                text_model=text_model,
            )
            names.append(folder.name)
            predictions.append(predict_test(run, variant, dataset, context))
        report_progress("seed", seed + 1, seeds, f"{model} {variant.title}: {seed + 1} of {seeds} seeds")
    return TrainedVariant(variant, tuple(names), tuple(predictions))


def predict_test(run: Run, variant: Variant, dataset: Dataset, context: TrainingContext) -> Predictions:
    """Return the run's predictions on the test split under all conditions of the variant, cached if possible."""
    split = dataset.split("test")
    conditions = variant_conditions(variant, split)
    cache_key = prediction_cache_key(run, dataset)
    cached = load_test_predictions(run.path, cache_key, conditions)
    if cached is not None:
        print_result(f"Using the cached test predictions of {run.path}.")
        return cached
    if is_dry_run():
        declare_steps([(f"predict the test split with {run.path.name}", None)])
        end_dry_run()
    if (run.path / PREDICTIONS_INFO_NAME).is_file():
        print_note(
            f"The cached predictions in {run.path} are damaged or out of date. The test split is predicted again."
        )
    predictor = run_predictor(run, context)
    by_condition = dict(
        predict_conditions(predictor, split, conditions, run.spec.normalization.spread, seed=run.info.seed)
    )
    metrics = {
        condition.key: measure(dataset.task, split.labels[condition.rows(split)], values)
        for condition, values in by_condition.items()
    }
    predictions = {condition.key: values for condition, values in by_condition.items()}
    write_test_predictions(run.path, cache_key, predictions, metrics)
    return predictions


def _write_record(record: Reproduction, output_dir: Path) -> ReproductionResult:
    """Write the record and the plots, and return the result."""
    write_text(output_dir / NAME, json.dumps(record.to_json(), indent=1) + "\n")
    plots = write_plots(record, output_dir)
    for name in PLOT_NAMES:  # an earlier call with other options may have written more plots
        if output_dir / name not in plots:
            (output_dir / name).unlink(missing_ok=True)
    return ReproductionResult(record, output_dir / NAME, tuple(plots))
