"""`edge-msa train`: a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import read_recipe
from edge_msa.console import format_metrics, print_notes, print_output, print_result, print_up_to_date, shows_progress
from edge_msa.data.dataset import Dataset
from edge_msa.data.opening import open_and_report
from edge_msa.data.range_check import check_value_range
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.teachers.by_name import TeacherName, TeacherRecipe, teacher_recipe, train_by_recipe
from edge_msa.training.text.apply import copy_text_input, with_text_input


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
    language: Path | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Train a teacher and write its run; skipped when an identical one is there.

    With the run of a language reader the teacher's language stream is what that one's text encoder makes of the words.
    Among several processes the first one writes and returns; the others end where the training does.
    """
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    context = (hardware or Hardware()).start(progress=shows_progress())
    dataset = open_and_report(data, task)
    chosen = teacher_recipe(model, settings.get(model, {}), data, epochs=epochs)
    reader = load_run(language) if language else None
    run, made_now = train_on(
        dataset if reader is None else with_text_input(reader, dataset),
        data,
        output_dir,
        model=model,
        recipe=chosen,
        seed=seed,
        context=context,
        reader=reader,
    )
    if made_now:
        following = f"edge-msa distill --teacher {output_dir} --output-dir student"
        print_output("teacher", output_dir, None if in_pipeline else following)
    return run


def train_on(
    dataset: Dataset,
    source: str,
    output_dir: Path,
    *,
    model: TeacherName,
    recipe: TeacherRecipe,
    seed: int,
    context: TrainingContext,
    told: Collection[str] = (),
    reader: Run | None = None,
) -> tuple[Run, bool]:
    """The run of that recipe on an opened dataset, and whether it was made now; remarks in `told` are not repeated.

    `reader` is the language run whose text encoder made the dataset's language stream.
    """
    spec = ModelSpec.for_training(dataset, source)
    if reader is not None:
        spec = spec.with_text_input(reader.spec)
    plain_recipe = dataclasses.asdict(recipe)
    inputs = {"data": dataset.digest, "task": dataset.task.kind, "precision": context.precision}
    inputs |= {"language": reader.digest} if reader is not None else {}
    cache_key = compute_cache_key(f"train {model}", plain_recipe, seed, inputs)
    if run := find_current_shared_run(output_dir, cache_key, context):
        print_up_to_date(output_dir)
        return run, False
    check_value_range(dataset, spec.dims)
    normalized = spec.normalize(dataset)
    print_notes(note for note in normalized.notes[len(dataset.notes) :] if note not in told)
    with new_shared_run(output_dir, cache_key, context) as work:
        trained = train_by_recipe(normalized, recipe, seed=seed, context=context, work_dir=work)
        context.dismiss_others()
        if reader is not None and spec.text_input:
            copy_text_input(reader.path, work)
        info = RunInfo(
            kind="teacher",
            model=model,
            command="train",
            cache_key=cache_key,
            seed=seed,
            recipe=plain_recipe,
            config=dataclasses.asdict(trained.config),
            spec=spec,
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation: {format_metrics(trained.metrics)}")
    return load_run(output_dir), True
