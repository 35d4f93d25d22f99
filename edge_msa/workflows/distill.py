"""`edge-msa distill`: from teachers' runs to a student's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import read_recipe, student_recipe
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.console import format_metrics, print_output, print_result, print_up_to_date, shows_progress
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import load_calibration
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.distillation.distill import distill
from edge_msa.training.distillation.qat import fake_quantized_student
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.load import student_of
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.apply import copy_text_input
from edge_msa_calibrate.schemes import scheme_named


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
    """Distill a student and write its run; skipped when an identical one is there.

    With `qat`, a calibrated run, its student is trained on as in int8 instead (`qat_run`), and reads words by its own
    text encoder.

    Among several processes the first one writes and returns; the others end where the training does.
    """
    settings = read_recipe(recipe) if isinstance(recipe, Path) else dict(recipe or {})
    context = (hardware or Hardware()).start(progress=shows_progress())
    setup = prepare_distillation(data, teachers, transfer, task, language or _reader_of(qat))
    chosen = student_recipe(settings.get("student", {}), setup.spec.data_source, epochs=epochs)
    check_weights(chosen, setup)
    if qat is None:
        run = student_run(setup, chosen, output_dir, seed=seed, context=context)
        following = f"edge-msa calibrate --model {output_dir} --output-dir calibrated"
    else:
        run = qat_run(setup, chosen, qat, output_dir, seed=seed, context=context)
        following = f"edge-msa export --target laptop --model {output_dir} --output-dir bundle"
    print_output("student", output_dir, None if in_pipeline else following)
    return run


def _reader_of(qat: Path | None) -> Path | None:
    """The calibrated run that is trained on, where it reads words."""
    return qat if qat and load_run(qat, "calibration").spec.text_input else None


def student_run(
    setup: DistillationSetup, recipe: StudentRecipe, output_dir: Path, *, seed: int, context: TrainingContext
) -> Run:
    """The run of a student of that recipe, made or found."""
    dataset = setup.dataset
    plain_recipe = dataclasses.asdict(recipe)
    inputs = setup.digests(context)
    cache_key = compute_cache_key("distill", plain_recipe, seed, inputs)
    if run := find_current_shared_run(output_dir, cache_key, context):
        print_up_to_date(output_dir)
        return run
    with new_shared_run(output_dir, cache_key, context) as work:
        targets = setup.targets(recipe, context)
        trained = distill(dataset, targets, recipe, seed=seed, context=context, work_dir=work, fingerprint=cache_key)
        context.dismiss_others()
        if setup.reader:
            copy_text_input(setup.reader.path, work)
        info = RunInfo(
            kind="student",
            model="student",
            command="distill",
            cache_key=cache_key,
            seed=seed,
            recipe=plain_recipe,
            config=dataclasses.asdict(trained.config),
            spec=setup.spec,
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation: {format_metrics(trained.metrics)}")
    return load_run(output_dir)


def check_weights(recipe: StudentRecipe, setup: DistillationSetup) -> None:
    """Refuse a recipe that weighs another number of teachers than there are, with a UsageError."""
    if len(recipe.teacher_weights) not in {0, len(setup.runs)}:
        raise UsageError(
            f"student.teacher_weights has {len(recipe.teacher_weights)} numbers for {len(setup.runs)} teachers"
        )


def qat_run(
    setup: DistillationSetup,
    recipe: StudentRecipe,
    calibrated: Path,
    output_dir: Path,
    *,
    seed: int,
    context: TrainingContext,
) -> Run:
    """The run of that student after quantization-aware training, made or found; its ranges are the calibration's.

    Sizes, spec and ranges are those of the calibrated run; the recipe says how it is trained and taught.

    Raises:
        UsageError: the calibrated student reads a modality that the data does not have.
        CalibrationError: there is no such quantization scheme.
    """
    source = load_run(calibrated, "calibration")
    scheme, calibration = scheme_named(recipe.qat_scheme), load_calibration(source)
    if calibration is None:
        raise UsageError(f"{calibrated} is not calibrated. Pass a run of `edge-msa calibrate`.")
    spec = source.spec
    dataset = spec.normalize(setup.raw)
    lacking = [name for name in spec.dims if name not in dataset.dims]
    if lacking:
        raise UsageError(
            f"{calibrated} reads {lacking[0]}, which {dataset.name} does not have: give --data that has it"
        )
    plain_recipe = dataclasses.asdict(recipe)
    inputs = {**setup.digests(context), "calibrated": source.digest}
    cache_key = compute_cache_key("qat", plain_recipe, seed, inputs)
    if run := find_current_shared_run(output_dir, cache_key, context):
        print_up_to_date(output_dir)
        return run
    with new_shared_run(output_dir, cache_key, context) as work:
        fp32_weights = calibration.fp32_weights.get(scheme.name, {})
        student = fake_quantized_student(student_of(source), calibration.ranges, scheme, fp32_weights)
        targets = setup.targets(recipe, context)
        trained = distill(
            dataset, targets, recipe, seed=seed, context=context, work_dir=work, fingerprint=cache_key, start=student
        )
        context.dismiss_others()
        calibration.save(work)
        if spec.text_input:
            copy_text_input(source.path, work)
        info = dataclasses.replace(
            source.info,
            command="distill --qat",
            cache_key=cache_key,
            seed=seed,
            recipe=plain_recipe,
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation, as in int8: {format_metrics(trained.metrics)}")
    return load_run(output_dir)
