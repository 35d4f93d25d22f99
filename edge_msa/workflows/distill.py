"""`edge-msa distill`: distill a student from teachers, or fine-tune it with quantization-aware training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_msa.arguments import AnyPath, check_seed, optional_source, path_of, paths_of, sources_of
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, load_run, write_run
from edge_msa.config.recipes import load_table, student_recipe
from edge_msa.config.students import StudentRecipe
from edge_msa.console import format_metrics, print_output, print_result, print_up_to_date
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import load_calibration
from edge_msa.training.context import Precision, TrainingContext
from edge_msa.training.distillation.distill import distill as train_student
from edge_msa.training.distillation.qat import fake_quantized_student
from edge_msa.training.distillation.setup import DistillationSetup, prepare_distillation
from edge_msa.training.load import load_student
from edge_msa.training.shared_runs import find_current_shared_run, new_shared_run
from edge_msa.training.text.text_input import copy_text_input
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.baseline_warning import warn_if_no_better_than_constant
from edge_msa.workflows.hardware import start_hardware
from edge_msa.workflows.outputs import output_folder
from edge_msa_calibrate.schemes import scheme_named


@api
def distill(
    teachers: AnyPath | Sequence[AnyPath],
    *,
    output_dir: AnyPath,
    data: AnyPath | None = None,
    transfer: AnyPath | Sequence[AnyPath] = (),
    qat: AnyPath | None = None,
    text_model: AnyPath | None = None,
    recipe: AnyPath | Mapping[str, Any] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    compiled: bool = False,
    tensorboard: AnyPath | None = None,
    task: str | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Distill one or several teachers into a small streaming student, and write its run.

    Skipping, resuming and several processes work as in `train`.

    Args:
        teachers: One run or several runs of `train`, `import_almt`, `distill`, `train_text` or `distill_text`: the
            results of these functions, or paths.
        output_dir: Folder of the run. It appears only when it is complete.
        data: Feature file, or `"synthetic"` (default: the data that the first teacher was trained on).
        transfer: Feature files with more training samples, labeled or not.
        qat: Run of `calibrate` whose student is fine-tuned with quantization-aware training (default: train a new
            student). The student keeps its text encoder, so `text_model` must have the same one or be omitted.
        text_model: Run whose text encoder computes the language features (default: the run of `qat` or the first
            teacher, if it takes text).
        recipe: Settings of the student, for example `{"size": "nano"}`, or a TOML file (default: the preset for the
            data). Settings can be in a table, `{"student": {"size": "nano"}}`.
        epochs: Number of epochs, instead of the recipe's.
        seed: Seed of every random choice, 0 to 2**32 - 1.
        device: Device to train on: `"auto"`, `"cpu"` or `"cuda"`.
        precision: Training precision: `"auto"`, `"32"` or `"bf16"`.
        compiled: Whether to compile the network with torch.compile.
        tensorboard: Folder for TensorBoard event files (default: none).
        task: What the labels mean (default: what the data states).
        overwrite: Whether to replace a run of other inputs, another recipe or another seed in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Called after every epoch.

    Returns:
        The run. With `qat`, `export` takes it; otherwise `calibrate` does.

    Raises:
        UsageError: An argument, the recipe, a run or the data cannot be used.
        RunUsageError: A teacher is no run, for example a bundle, or `output_dir` contains something else.
        DataError: The data does not fit the teachers.
        TrainingError: The training diverged.

    Examples:
        >>> student = em.distill(teacher, data="mosi.pkl", output_dir="student")
        >>> student = em.distill(["hrlf-0", "hrlf-1"], recipe={"size": "nano"}, output_dir="nano")
    """
    teacher_paths = paths_of(teachers, "teachers", "a run, or a list of runs")
    source, transfer_files = optional_source(data), sources_of(transfer, "transfer")
    qat_path = None if qat is None else path_of(qat, "qat", "a run of calibrate")
    text_path = None if text_model is None else path_of(text_model, "text_model", "a run with a text encoder")
    check_seed(seed)
    inputs = [*teacher_paths, source, *transfer_files, qat_path, text_path, recipe]
    run_dir = output_folder(output_dir, "output_dir", inputs)
    first_teacher = load_run(teacher_paths[0])
    context = start_hardware(device, precision, compiled=compiled, tensorboard=tensorboard)
    if qat_path is not None:
        text_path = _text_model_for_qat(load_run(qat_path, "calibration"), text_path, first_teacher)
    setup = prepare_distillation(source, teacher_paths, transfer_files, task, text_path)
    chosen = student_recipe(load_table(recipe, "student"), setup.spec.data_source, epochs=epochs)
    check_teacher_weights(chosen, setup)
    if qat_path is None:
        run = distill_on_setup(setup, chosen, run_dir, seed=seed, context=context)
        command = f"edge-msa calibrate {run_dir} --output-dir calibrated"
    else:
        run = fine_tune_on_setup(setup, chosen, qat_path, run_dir, seed=seed, context=context)
        command = f"edge-msa export {run_dir} --target laptop --output-dir bundle-laptop"
    print_output("student", run_dir, next_step(command))
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
        trained = train_student(
            dataset,
            targets,
            recipe,
            seed=seed,
            context=context,
            work_dir=work,
            fingerprint=request.cache_key,
            takes_text=setup.text_model is not None,
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
        trained = train_student(
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
