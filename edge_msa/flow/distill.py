"""`edge-msa distill`: from teachers' runs to a student's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.contract import Contract
from edge_msa.errors import UsageError
from edge_msa.flow.console import made, metrics_line, say, shows_progress
from edge_msa.flow.processes import current_for_all, new_for_all
from edge_msa.flow.qat import qat_run
from edge_msa.flow.spoken import carry_spoken
from edge_msa.flow.teachers import School, school_of
from edge_msa.runs import Run, RunInfo, identity_of, read_run, write_run
from edge_msa.training.distill import distill
from edge_msa.training.engine import Engine, Hardware
from edge_msa.training.recipes import read_recipe, student_recipe
from edge_msa.training.student_recipe import StudentRecipe


def distill_student(
    data: str | None,
    teachers: Sequence[Path],
    output_dir: Path,
    *,
    transfer: Sequence[str] = (),
    language: Path | None = None,
    qat: Path | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    task: str | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Distil a student and write its run; skipped when an identical one is there.

    With `qat`, a calibrated run, its student is trained on as in int8 instead (`qat_run`), and reads words by its own
    front.

    Among several processes the first one writes and returns; the others end where the training does.
    """
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    engine = (hardware or Hardware()).start(progress=shows_progress())
    school = school_of(data, teachers, transfer, task, language or _reader_of(qat))
    chosen = student_recipe(settings.get("student", {}), school.contract.data, epochs=epochs)
    check_weights(chosen, school)
    if qat is None:
        run = student_run(school, chosen, output_dir, seed=seed, engine=engine)
        following = f"edge-msa calibrate --model {output_dir} --output-dir calibrated"
    else:
        run = qat_run(school, chosen, qat, output_dir, seed=seed, engine=engine)
        following = f"edge-msa export --target laptop --model {output_dir} --output-dir bundle"
    made("student", output_dir, None if in_pipeline else following)
    return run


def _reader_of(qat: Path | None) -> Path | None:
    """The calibrated run that is trained on, where it reads words."""
    return qat if qat and Contract.from_json(read_run(qat, "calibration").info.contract).language else None


def student_run(school: School, recipe: StudentRecipe, output_dir: Path, *, seed: int, engine: Engine) -> Run:
    """The run of a student of that recipe, made or found."""
    dataset = school.dataset
    plain_recipe = dataclasses.asdict(recipe)
    inputs = school.digests(engine)
    identity = identity_of("distill", plain_recipe, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"student: {output_dir} is up to date, skipped")
        return run
    with new_for_all(output_dir, identity, engine) as work:
        targets = school.targets(recipe, engine)
        trained = distill(dataset, targets, recipe, seed=seed, engine=engine, work_dir=work, fingerprint=identity)
        engine.dismiss_others()
        if school.reader:
            carry_spoken(school.reader.path, work)
        info = RunInfo(
            kind="student",
            model="student",
            command="distill",
            identity=identity,
            seed=seed,
            recipe=plain_recipe,
            config=dataclasses.asdict(trained.config),
            contract=school.contract.to_json(),
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    say(f"validation: {metrics_line(trained.metrics)}")
    return read_run(output_dir)


def check_weights(recipe: StudentRecipe, school: School) -> None:
    """Refuse a recipe that weighs another number of teachers than there are, with a UsageError."""
    if len(recipe.teacher_weights) not in {0, len(school.runs)}:
        raise UsageError(
            f"student.teacher_weights has {len(recipe.teacher_weights)} numbers for {len(school.runs)} teachers"
        )
