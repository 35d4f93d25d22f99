"""`edge-msa reproduce`: a paper's table beside ours, over seeds; test is read once by every training."""

from __future__ import annotations

import json as json_module
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_msa.artifacts.files import write_text
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import INFO_NAME, Run, load_run
from edge_msa.config.recipes import load_recipe_file, preset_names, teacher_recipe
from edge_msa.config.teachers import TeacherRecipe
from edge_msa.console import print_json, print_note, print_notes, print_output, print_result, print_step, shows_progress
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.opening import open_and_report
from edge_msa.errors import RunError, RunUsageError, UsageError
from edge_msa.evaluation.metrics import measure
from edge_msa.evaluation.predictors import by_run
from edge_msa.evaluation.reproduction.conditions import read_conditions, rows_of, subsets_there
from edge_msa.evaluation.reproduction.plots import PICTURES, draw
from edge_msa.evaluation.reproduction.prediction_cache import INFO_NAME as INFO_FILE
from edge_msa.evaluation.reproduction.prediction_cache import (
    Predictions,
    prediction_cache_key,
    read_test_predictions,
    write_test_predictions,
)
from edge_msa.evaluation.reproduction.published import ModelName, PaperName, paper_of, published
from edge_msa.evaluation.reproduction.record import NAME, Reproduction
from edge_msa.evaluation.reproduction.summary import Asked, Trained, conditions_of, summarize
from edge_msa.evaluation.reproduction.table import format_reproduction
from edge_msa.evaluation.reproduction.variants import WHOLE, Variant, ablations_of
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.shared_runs import require_single_process
from edge_msa.workflows.train import train_on_dataset


def reproduce(
    model: ModelName,
    data: str,
    output_dir: Path,
    *,
    seeds: int = 5,
    paper: PaperName | None = None,
    ablations: bool = False,
    noise: bool = False,
    recipe: Path | None = None,
    epochs: int | None = None,
    hardware: Hardware | None = None,
    task: str | None = None,
    json: bool = False,
) -> Reproduction:
    """Train what is not there yet, read test once by each, print the tables, write the record and the pictures.

    Raises:
        UsageError: fewer than one seed, a paper of another task, or a folder that holds something else.
        DataError: a split is missing or empty.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is {seeds}; it must be at least 1")
    table = dict(load_recipe_file(recipe).get(model, {})) if recipe else {}
    require_single_process("reproduce")
    context = (hardware or Hardware()).start(progress=shows_progress())
    dataset = open_and_report(data, task)
    for name in SPLITS:
        dataset.split(name)
    if not subsets_there(dataset.split("test")):
        raise UsageError(f"no sample of the test split of {dataset.name} has a valid frame: nothing to read")
    corpus, why = paper_of(dataset, paper)
    notes = [why] if why else []
    if corpus != "none" and not published(model, corpus).rows:
        notes.append(f"the paper of {model.upper()} prints no table for {corpus.upper()}")
    preset = _paper_preset(model, corpus, table)
    if preset:
        table = {"preset": preset, **table}
        notes.append(f"the recipe begins with the preset {preset}: the paper's for this corpus")
    variants = dict(distinct_variants(model, table, data, epochs, dataset, ablations=ablations))
    check_place(output_dir, model, dataset)
    told = (*dataset.notes, *ModelSpec.for_training(dataset, data).normalization.notes)
    print_notes([*notes, *(note for note in told if note not in dataset.notes)])
    trained = [
        _trained(variant, chosen, dataset, data, output_dir, model=model, seeds=seeds, context=context, told=told)
        for variant, chosen in variants.values()
    ]
    asked = Asked(
        model,
        corpus,
        json_module.loads(json_module.dumps(variants[WHOLE.name][1].model_dump())),
        tuple(range(seeds)),
        noise,
        (*notes, *told),
    )
    record = summarize(asked, dataset, trained)
    _tell(record, output_dir, json=json)
    return record


def check_place(output_dir: Path, model: ModelName, dataset: Dataset) -> None:
    """Refuse a folder that holds anything but this very reproduction, whole or begun.

    Raises:
        RunUsageError: it is a file, or holds something else.
    """
    if output_dir.is_file():
        raise RunUsageError(f"{output_dir} is a file: give a folder for runs, {NAME} and pictures")
    for entry in sorted(output_dir.iterdir()) if output_dir.is_dir() else ():
        if entry.name.startswith(".") or entry.name in {NAME, *PICTURES}:
            continue
        if not (entry / INFO_NAME).is_file() or not re.fullmatch(rf"{model}-.+-seed\d+", entry.name):
            raise RunUsageError(
                f"{output_dir} holds {entry.name}, which is not of reproduce {model}: give another --output-dir, "
                "nothing was changed"
            )
        if _data_of(entry) not in {(dataset.digest, dataset.task.kind), None}:
            raise RunUsageError(
                f"{entry} was trained on other data than {dataset.name}, or another task: give another --output-dir, "
                "nothing was changed"
            )


def _data_of(run: Path) -> tuple[str, str] | None:
    """Digest and task of what a run was trained on; None where it is damaged, and will be made again."""
    try:
        inputs = load_run(run).info.inputs
    except RunError:
        return None
    return inputs.get("data", ""), inputs.get("task", "")


def _paper_preset(model: ModelName, paper: PaperName, table: Mapping[str, Any]) -> str | None:
    """The preset of the paper's own hyper-parameters, unless the recipe file names one."""
    return paper if paper in preset_names(model) and "preset" not in table else None


def distinct_variants(
    model: ModelName,
    table: Mapping[str, Any],
    data: str,
    epochs: int | None,
    dataset: Dataset,
    *,
    ablations: bool,
) -> Iterator[tuple[str, tuple[Variant, TeacherRecipe]]]:
    """The method, and each ablation that differs from it, with its recipe."""
    whole = teacher_recipe(model, table, data, epochs=epochs)
    yield WHOLE.name, (WHOLE, whole)
    for variant in ablations_of(model) if ablations else ():
        left = set(dataset.dims) - set(variant.changes.get("without", ()))
        if not left or ("without" in variant.changes and len(left) == len(dataset.dims)):
            print_note(f"{variant.title} is left out: {dataset.name} has {', '.join(dataset.dims)}")
            continue
        chosen = teacher_recipe(model, {**table, **variant.changes}, data, epochs=epochs)
        if chosen != whole:
            yield variant.name, (variant, chosen)


def _trained(
    variant: Variant,
    recipe: TeacherRecipe,
    dataset: Dataset,
    source: str,
    output_dir: Path,
    *,
    model: ModelName,
    seeds: int,
    context: TrainingContext,
    told: tuple[str, ...],
) -> Trained:
    """All seeds of one variant, each trained and read once."""
    names, predictions = [], []
    for seed in range(seeds):
        print_step(f"{model} {variant.title}, seed {seed}")
        place = output_dir / f"{model}-{variant.name}-seed{seed}"
        run, _ = train_on_dataset(
            dataset, source, place, model=model, recipe=recipe, seed=seed, context=context, reported=told
        )
        names.append(place.name)
        predictions.append(read_test(run, variant, dataset, context))
    return Trained(variant, tuple(names), tuple(predictions))


def read_test(run: Run, variant: Variant, dataset: Dataset, context: TrainingContext) -> Predictions:
    """The run's predictions of test under all conditions: kept beside it, and made where they are not there yet."""
    split = dataset.split("test")
    conditions = conditions_of(variant, split)
    cache_key = prediction_cache_key(run.digest, dataset.digest, dataset.task.kind)
    known = read_test_predictions(run.path, cache_key, conditions)
    if known is not None:
        print_result(f"test: {run.path} has its predictions, not read again")
        return known
    if (run.path / INFO_FILE).is_file():
        print_note(f"the predictions kept in {run.path} are damaged, or of another training: test is read again")
    spread = run.spec.normalization.std
    found = dict(read_conditions(by_run(run, context), split, conditions, spread, seed=run.info.seed))
    metrics = {
        condition.key: measure(dataset.task, split.labels[rows_of(split, condition.subset)], values)
        for condition, values in found.items()
    }
    predictions = {condition.key: values for condition, values in found.items()}
    write_test_predictions(run.path, cache_key, predictions, metrics)
    return predictions


def _tell(record: Reproduction, output_dir: Path, *, json: bool) -> None:
    write_text(output_dir / NAME, json_module.dumps(record.to_json(), indent=1) + "\n")
    pictures = draw(record, output_dir)
    for name in PICTURES:  # of an earlier call that showed more: the record no longer has them
        if output_dir / name not in pictures:
            (output_dir / name).unlink(missing_ok=True)
    print_result(f"\n{format_reproduction(record)}\n")
    for picture in pictures:
        print_output("picture", picture)
    print_output("record", output_dir / NAME)
    if json:
        print_json(record.to_json())
