"""`edge-msa train`: a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_msa.contract import Contract
from edge_msa.flow.console import made, metrics_line, remarks, say, shows_progress
from edge_msa.flow.data import opened
from edge_msa.flow.extremes import refuse_extremes
from edge_msa.runs import Run, RunInfo, current_run, identity_of, new_run, read_run, write_run
from edge_msa.training.device import resolve_device
from edge_msa.training.recipes import read_recipe
from edge_msa.training.teachers import TeacherName, teacher_recipe, train_by_recipe


def train_teacher(
    data: str,
    output_dir: Path,
    *,
    model: TeacherName = "hrlf",
    recipe: Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    task: str | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Train a teacher and write its run; skipped when an identical one is there."""
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    place = resolve_device(device)
    dataset = opened(data, task)
    chosen = teacher_recipe(model, settings.get(model, {}), data, epochs=epochs)
    contract = Contract.of(dataset, data)
    plain_recipe = dataclasses.asdict(chosen)
    inputs = {"data": dataset.digest, "task": dataset.task.kind}
    identity = identity_of(f"train {model}", plain_recipe, seed, inputs)
    if run := current_run(output_dir, identity):
        say(f"teacher: {output_dir} is up to date, skipped")
        return run
    refuse_extremes(dataset, contract.dims)
    normalised = contract.normalised(dataset)
    remarks(normalised.notes[len(dataset.notes) :])
    with new_run(output_dir, identity) as work:
        trained = train_by_recipe(normalised, chosen, seed=seed, device=place, work_dir=work, progress=shows_progress())
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
    made(
        "teacher", output_dir, None if in_pipeline else f"edge-msa distill --teacher {output_dir} --output-dir student"
    )
    return read_run(output_dir)
