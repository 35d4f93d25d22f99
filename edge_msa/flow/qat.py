"""`edge-msa distill --qat`: a calibrated student trained on, with the arithmetic of INT8 in its forward pass."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_msa.contract import Contract
from edge_msa.errors import UsageError
from edge_msa.flow.calibrated import carry_placement, read_float_nodes, read_ranges
from edge_msa.flow.console import metrics_line, say
from edge_msa.flow.processes import current_for_all, new_for_all
from edge_msa.flow.spoken import carry_spoken
from edge_msa.flow.teachers import School
from edge_msa.runs import Run, identity_of, read_run, write_run
from edge_msa.training.distill import distill
from edge_msa.training.engine import Engine
from edge_msa.training.load import student_of
from edge_msa.training.qat import fake_quantised_student
from edge_msa.training.student_recipe import StudentRecipe
from edge_msa_calibrate.placement import rule_set_named


def qat_run(
    school: School, recipe: StudentRecipe, calibrated: Path, output_dir: Path, *, seed: int, engine: Engine
) -> Run:
    """The run of that student after quantisation-aware training, made or found; its ranges are the calibration's.

    Sizes, contract and ranges are those of the calibrated run; the recipe says how it is trained and taught.

    Raises:
        UsageError: the calibrated student reads a modality that the data does not have.
        CalibrationError: there is no such rule set.
    """
    source = read_run(calibrated, "calibration")
    rules, ranges = rule_set_named(recipe.qat_rules), read_ranges(source) or {}
    contract = Contract.from_json(source.info.contract)
    dataset = contract.normalised(school.raw)
    lacking = [name for name in contract.dims if name not in dataset.dims]
    if lacking:
        raise UsageError(
            f"{calibrated} reads {lacking[0]}, which {dataset.name} does not have: give --data that has it"
        )
    plain_recipe = dataclasses.asdict(recipe)
    inputs = {**school.digests(engine), "calibrated": source.digest}
    identity = identity_of("qat", plain_recipe, seed, inputs)
    if run := current_for_all(output_dir, identity, engine):
        say(f"student: {output_dir} is up to date, skipped")
        return run
    with new_for_all(output_dir, identity, engine) as work:
        floats = read_float_nodes(source).get(rules.name, {})
        student = fake_quantised_student(student_of(source), ranges, rules, floats)
        targets = school.targets(recipe, engine)
        trained = distill(
            dataset, targets, recipe, seed=seed, engine=engine, work_dir=work, fingerprint=identity, start=student
        )
        engine.dismiss_others()
        carry_placement(source, work)
        if contract.language:
            carry_spoken(source.path, work)
        info = dataclasses.replace(
            source.info,
            command="distill --qat",
            identity=identity,
            seed=seed,
            recipe=plain_recipe,
            inputs=inputs,
            metrics=trained.metrics,
        )
        write_run(work, info, trained.weights, trained.log)
    say(f"validation, as in int8: {metrics_line(trained.metrics)}")
    return read_run(output_dir)
