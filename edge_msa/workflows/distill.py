"""`edge-msa distill`: distill a student from teachers, or fine-tune it with quantization-aware training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_tables, student_recipe
from edge_msa.config.students import StudentRecipe
from edge_msa.console import format_metrics, print_output, print_result, print_up_to_date
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import load_calibration
from edge_msa.training.context import Hardware, TrainingContext
from edge_msa.training.distillation.distill import distill
from edge_msa.training.distillation.qat import fake_quantized_student
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.load import load_student
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.text_input import copy_text_input
from edge_msa.workflows.baseline_warning import warn_if_no_better_than_constant
from edge_msa_calibrate.schemes import scheme_named


def distill_student(
    data: str | None,
    teachers: Sequence[Path],
    output_dir: Path,
    *,
    transfer: Sequence[str] = (),
    text_model: Path | None = None,
    qat: Path | None = None,
    recipe: Path | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    hardware: Hardware | None = None,
    task: str | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Distill a student and write its run, unless an identical run exists.

    With several processes, the first one writes the run and returns. The others exit when the training ends.

    Args:
        data: Feature file (default: the data that the first teacher was trained on).
        teachers: Runs of train, import, distill or text.
        output_dir: Folder of the run.
        transfer: Feature files with additional training samples, labeled or not.
        text_model: Run whose text encoder computes the language frames (default: the first teacher, if it takes text).
        qat: Run of calibrate whose student is fine-tuned with quantization-aware training (default: train a new
            student). The student keeps its text encoder, so `text_model` must have the same one or be omitted.
        recipe: Recipe file or its tables (default: the preset for the data).
        epochs: Number of epochs (default: the recipe's).
        seed: Seed of every random choice.
        hardware: Device, precision and logging options.
        task: Name of the task (default: the task that the data states).
        in_pipeline: Whether to omit the suggestion of the next command.

    Raises:
        UsageError: The recipe, a run or the data cannot be used.
        DataError: The data does not fit the teachers.
        TrainingError: The training diverged.
    """
    context = (hardware or Hardware()).start()
    if qat is not None:
        text_model = _text_model_for_qat(load_run(qat, "calibration"), text_model, load_run(teachers[0]))
    setup = prepare_distillation(data, teachers, transfer, task, text_model)
    chosen = student_recipe(load_tables(recipe).get("student", {}), setup.spec.data_source, epochs=epochs)
    check_teacher_weights(chosen, setup)
    if qat is None:
        run = distill_on_setup(setup, chosen, output_dir, seed=seed, context=context)
        next_command = f"edge-msa calibrate {output_dir} --output-dir calibrated"
    else:
        run = fine_tune_on_setup(setup, chosen, qat, output_dir, seed=seed, context=context)
        next_command = f"edge-msa export {output_dir} --target laptop --output-dir bundle"
    print_output("student", output_dir, None if in_pipeline else next_command)
    return run


def _text_model_for_qat(calibrated: Run, text_model: Path | None, teacher: Run) -> Path | None:
    """Return the run whose text encoder computes the language frames of a calibrated student: its own, or None.

    Raises:
        UsageError: The options select another text encoder than the one that the student was calibrated with.
    """
    selected = load_run(text_model) if text_model else calibrated if calibrated.spec.text_input else teacher
    own, other = calibrated.spec.text_input, selected.spec.text_input
    if "language" in calibrated.spec.dims and (own and own.digest) != (other and other.digest):
        remedy = "Omit --text-model" if text_model else "Pass a teacher that takes features"
        source = "its own text encoder" if own else "language features and no text encoder"
        raise UsageError(f"The student in {calibrated.path} must use {source}, got that of {selected.path}. {remedy}.")
    return calibrated.path if own else text_model


def distill_on_setup(
    setup: DistillationSetup, recipe: StudentRecipe, output_dir: Path, *, seed: int, context: TrainingContext
) -> Run:
    """Distill a student with a prepared setup, unless an identical run exists, and return its run."""
    dataset = setup.dataset
    settings = recipe.model_dump()
    inputs = setup.input_digests(context)
    request = Request("distill", settings, seed, inputs, {"data": setup.spec.data_source})
    if run := find_current_shared_run(output_dir, request, context):
        print_up_to_date(output_dir)
        return run
    with new_shared_run(output_dir, request.cache_key, context) as work:
        targets = setup.targets(recipe, context)
        trained = distill(
            dataset, targets, recipe, seed=seed, context=context, work_dir=work, fingerprint=request.cache_key
        )
        context.exit_other_processes()
        if setup.text_model:
            copy_text_input(setup.text_model.path, work)
        info = RunInfo(
            kind="student",
            model="student",
            **request.to_json(),
            config=dataclasses.asdict(trained.config),
            spec=setup.spec,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation: {format_metrics(trained.metrics)}")
    run = load_run(output_dir)
    warn_if_no_better_than_constant(run, setup.source, context)
    return run


def check_teacher_weights(recipe: StudentRecipe, setup: DistillationSetup) -> None:
    """Raise a UsageError if the recipe has teacher weights, but not one per teacher."""
    count, expected = len(recipe.teacher_weights), len(setup.teachers)
    if count not in {0, expected}:
        raise UsageError(f"student.teacher_weights must have {expected} numbers, one per teacher, got {count}.")


def fine_tune_on_setup(
    setup: DistillationSetup,
    recipe: StudentRecipe,
    calibrated: Path,
    output_dir: Path,
    *,
    seed: int,
    context: TrainingContext,
) -> Run:
    """Fine-tune a calibrated student with quantization-aware training, unless an identical run exists.

    Sizes, spec and ranges come from the calibrated run. The recipe only determines the training.

    Raises:
        UsageError: The run is not calibrated, or the data lacks a modality of its student.
        CalibrationError: The quantization scheme is unknown.
    """
    source = load_run(calibrated, "calibration")
    scheme, calibration = scheme_named(recipe.qat_scheme), load_calibration(source)
    if calibration is None:
        raise UsageError(f"{calibrated} is not calibrated. Pass a run of `edge-msa calibrate`.")
    spec = source.spec
    dataset = spec.normalize(setup.unnormalized)
    missing = [name for name in spec.dims if name not in dataset.dims]
    if missing:
        raise UsageError(
            f"{dataset.name} lacks {', '.join(missing)}, which {calibrated} needs. Pass --data with these modalities."
        )
    settings = recipe.model_dump()
    inputs = {**setup.input_digests(context), "calibrated": source.digest}
    request = Request("distill --qat", settings, seed, inputs, {"data": setup.spec.data_source})
    if run := find_current_shared_run(output_dir, request, context):
        print_up_to_date(output_dir)
        return run
    with new_shared_run(output_dir, request.cache_key, context) as work:
        fp32_weights = calibration.fp32_weights.get(scheme.name, {})
        student = fake_quantized_student(load_student(source), calibration.ranges, scheme, fp32_weights)
        targets = setup.targets(recipe, context)
        trained = distill(
            dataset,
            targets,
            recipe,
            seed=seed,
            context=context,
            work_dir=work,
            fingerprint=request.cache_key,
            start=student,
        )
        context.exit_other_processes()
        calibration.save(work)
        if spec.text_input:
            copy_text_input(source.path, work)
        info = dataclasses.replace(
            source.info,
            **request.to_json(),
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    print_result(f"validation with simulated int8: {format_metrics(trained.metrics)}")
    run = load_run(output_dir)
    warn_if_no_better_than_constant(run, setup.source, context)
    return run
