"""`edge-msa train`: a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset
from edge_msa.flow.console import made, metrics_line, remarks, say, shows_progress
from edge_msa.flow.data import opened
from edge_msa.flow.extremes import refuse_extremes
from edge_msa.flow.processes import current_for_all, new_for_all
from edge_msa.flow.spoken import carry_spoken, spoken_by
from edge_msa.runs import Run, RunInfo, identity_of, read_run, write_run
from edge_msa.training.engine import Engine, Hardware
from edge_msa.training.recipes import read_recipe
from edge_msa.training.teachers import TeacherName, TeacherRecipe, teacher_recipe, train_by_recipe


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

    With the run of a language reader the teacher's language stream is what that one's front makes of the words.
    Among several processes the first one writes and returns; the others end where the training does.
    """
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    engine = (hardware or Hardware()).start(progress=shows_progress())
    dataset = opened(data, task)
    chosen = teacher_recipe(model, settings.get(model, {}), data, epochs=epochs)
    reader = read_run(language) if language else None
    run, made_now = train_on(
        dataset if reader is None else spoken_by(reader, dataset),
        data,
        output_dir,
        model=model,
        recipe=chosen,
        seed=seed,
        engine=engine,
        reader=reader,
    )
    if made_now:
        following = f"edge-msa distill --teacher {output_dir} --output-dir student"
        made("teacher", output_dir, None if in_pipeline else following)
    return run


def train_on(
    dataset: Dataset,
    source: str,
    output_dir: Path,
    *,
    model: TeacherName,
    recipe: TeacherRecipe,
    seed: int,
    engine: Engine,
    told: Collection[str] = (),
    reader: Run | None = None,
) -> tuple[Run, bool]:
    """The run of that recipe on an opened dataset, and whether it was made now; remarks in `told` are not repeated.

    `reader` is the language run whose front made the dataset's language stream.
    """
    contract = Contract.of(dataset, source)
    if reader is not None:
        contract = contract.speaking(Contract.from_json(reader.info.contract))
    plain_recipe = dataclasses.asdict(recipe)
    inputs = {"data": dataset.digest, "task": dataset.task.kind, "precision": engine.precision}
    inputs |= {"language": reader.digest} if reader is not None else {}
    identity = identity_of(f"train {model}", plain_recipe, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"teacher: {output_dir} is up to date, skipped")
        return run, False
    refuse_extremes(dataset, contract.dims)
    normalised = contract.normalised(dataset)
    remarks(note for note in normalised.notes[len(dataset.notes) :] if note not in told)
    with new_for_all(output_dir, identity, engine) as work:
        trained = train_by_recipe(normalised, recipe, seed=seed, engine=engine, work_dir=work)
        engine.dismiss_others()
        if reader is not None and contract.language:
            carry_spoken(reader.path, work)
        info = RunInfo(
            kind="teacher",
            model=model,
            command="train",
            identity=identity,
            seed=seed,
            recipe=plain_recipe,
            config=dataclasses.asdict(trained.config),
            contract=contract.to_json(),
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    say(f"validation: {metrics_line(trained.metrics)}")
    return read_run(output_dir), True
