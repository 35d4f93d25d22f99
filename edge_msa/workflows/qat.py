"""`edge-msa distill --qat`: a calibrated student trained on, with the arithmetic of INT8 in its forward pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.processes import current_for_all, new_for_all
from edge_msa.artifacts.runs import Run, cache_key_of, read_run, write_run
from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.console import metrics_line, say
from edge_msa.errors import UsageError
from edge_msa.quantization.calibration_files import copy_mixed_precision_plan, read_fp32_weights, read_ranges
from edge_msa.training.context import TrainingContext
from edge_msa.training.distillation.distill import distill
from edge_msa.training.distillation.qat import fake_quantized_student
from edge_msa.training.distillation.setup import DistillationSetup
from edge_msa.training.load import student_of
from edge_msa.training.text.apply import copy_text_input
from edge_msa_calibrate.schemes import scheme_named


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
    source = read_run(calibrated, "calibration")
    rules, ranges = scheme_named(recipe.qat_scheme), read_ranges(source) or {}
    spec = ModelSpec.from_json(source.info.spec)
    dataset = spec.normalized(setup.raw)
    lacking = [name for name in spec.dims if name not in dataset.dims]
    if lacking:
        raise UsageError(
            f"{calibrated} reads {lacking[0]}, which {dataset.name} does not have: give --data that has it"
        )
    plain_recipe = dataclasses.asdict(recipe)
    inputs = {**setup.digests(context), "calibrated": source.digest}
    cache_key = cache_key_of("qat", plain_recipe, seed, inputs)
    if run := current_for_all(output_dir, cache_key, context):
        say(f"student: {output_dir} is up to date, skipped")
        return run
    with new_for_all(output_dir, cache_key, context) as work:
        floats = read_fp32_weights(source).get(rules.name, {})
        student = fake_quantized_student(student_of(source), ranges, rules, floats)
        targets = setup.targets(recipe, context)
        trained = distill(
            dataset, targets, recipe, seed=seed, context=context, work_dir=work, fingerprint=cache_key, start=student
        )
        context.dismiss_others()
        copy_mixed_precision_plan(source, work)
        if spec.language:
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
    say(f"validation, as in int8: {metrics_line(trained.metrics)}")
    return read_run(output_dir)
