"""`edge-msa distill`: from a teacher's run to a student's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_msa.contract import Contract
from edge_msa.flow.console import made, metrics_line, remarks, say, shows_progress
from edge_msa.flow.data import data_of, opened_for
from edge_msa.flow.processes import current_for_all, new_for_all
from edge_msa.runs import Run, RunInfo, identity_of, read_run, write_run
from edge_msa.training.distill import distill
from edge_msa.training.engine import Hardware
from edge_msa.training.load import model_of
from edge_msa.training.recipes import read_recipe, student_recipe


def distill_student(
    data: str | None,
    teacher: Path,
    output_dir: Path,
    *,
    recipe: Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    task: str | None = None,
    in_pipeline: bool = False,
    readings: Path | None = None,
) -> Run:
    """Distil a student and write its run; skipped when an identical one is there.

    Among several processes the first one writes and returns; the others end where the training does. `readings`: a
    folder that keeps what the teacher reads, for several students of one teacher on the same data.
    """
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    engine = (hardware or Hardware()).start(progress=shows_progress())
    source = read_run(teacher, "teacher")
    given = Contract.from_json(source.info.contract)
    dataset = opened_for(source, given, data, task)
    data = data_of(data, given, teacher)
    contract = given.narrowed(given.readable(dataset))
    normalised = contract.normalised(dataset)
    remarks(normalised.notes[len(dataset.notes) :])
    chosen = student_recipe(settings.get("student", {}), data, epochs=epochs)
    plain_recipe = dataclasses.asdict(chosen)
    inputs = {"data": dataset.digest, "task": dataset.task.kind, "teacher": source.digest}
    inputs["precision"] = engine.precision
    identity = identity_of("distill", plain_recipe, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"student: {output_dir} is up to date, skipped")
        return run
    with new_for_all(output_dir, identity, engine) as work:
        model = model_of(source, engine.device)
        shared = readings / f"{identity_of('readings', {}, 0, inputs)}.npy" if readings else None
        trained = distill(
            normalised,
            model,
            chosen,
            seed=seed,
            engine=engine,
            work_dir=work,
            fingerprint=identity,
            readings=shared,
        )
        engine.dismiss_others()
        info = RunInfo(
            kind="student",
            model="student",
            command="distill",
            identity=identity,
            seed=seed,
            recipe=plain_recipe,
            config=dataclasses.asdict(trained.config),
            contract=dataclasses.replace(contract, data=data).to_json(),
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    say(f"validation: {metrics_line(trained.metrics)}")
    following = None if in_pipeline else f"edge-msa calibrate --model {output_dir} --output-dir calibrated"
    made("student", output_dir, following)
    return read_run(output_dir)
