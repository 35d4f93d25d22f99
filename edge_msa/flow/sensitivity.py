"""`edge-msa sensitivity`: which layers of a calibrated student must stay float on a target, found within a budget."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset
from edge_msa.errors import UsageError
from edge_msa.files import write_text
from edge_msa.flow.calibrated import explained, write_float_nodes
from edge_msa.flow.console import made, remark, say
from edge_msa.flow.data import opened_for
from edge_msa.flow.graphs import graphs_of, with_fronts
from edge_msa.flow.judge import Judge
from edge_msa.flow.request import export_request
from edge_msa.report.sensitivity import LayerBar, SensitivityPage, SensitivityPart, render_sensitivity
from edge_msa.runs import INFO_NAME, LOG_NAME, WEIGHTS_NAME, Run, current_run, identity_of, new_run, read_run, write_run
from edge_msa_calibrate.sensitivity import Layer, Limits, Plan, search_placement
from edge_msa_export.profiles import EngineProfile, profile_named
from edge_msa_export.request import ExportRequest

PAGE_NAME = "sensitivity.html"
SAMPLES = 256
"""Validation samples that a placement is read on."""


def find_placement(
    target: str,
    model: Path,
    output_dir: Path,
    *,
    data: str | None = None,
    budget: float = 120.0,
    max_drop: float = 1.0,
    max_distance: float = 0.05,
    seed: int = 0,
    task: str | None = None,
) -> Run:
    """Search the placement of every rule set of a target, and write it with the calibration as a run for export.

    A search that was killed goes on where it stopped, and one that its budget ended does when it is started again.

    Raises:
        UsageError: the run was not calibrated, or the target has no int8.
    """
    limits = Limits(max_drop, max_distance)
    source = read_run(model, "calibration")
    profile = profile_named(target)
    engines = [engine for engine in profile.engines if engine.rule_set is not None]
    if not engines:
        raise UsageError(f"{profile.name} has no engine with int8: there is nothing to place; see edge-msa devices")
    contract = Contract.from_json(source.info.contract)
    dataset = opened_for(source, contract, data, task)
    recipe = {**source.info.recipe, "target": profile.name, "limits": dataclasses.asdict(limits), "samples": SAMPLES}
    inputs = {"data": dataset.digest, "calibration": source.digest}
    identity = identity_of("sensitivity", recipe, seed, inputs)
    before = current_run(output_dir, identity)
    if before and before.info.metrics.get("complete"):
        say(f"sensitivity: {output_dir} is up to date, skipped")
        return before
    request = export_request(source, contract, contract.readable(dataset), profile, "auto", output_dir.name)
    with new_run(output_dir, identity) as work:
        _start_from(work, source, before)
        asked = _Asked(source, request, limits, seed)
        plans = {
            engine.rule_set: _search(asked, engine, contract.normalised(dataset), work, budget / len(engines))
            for engine in engines
            if engine.rule_set
        }
        _write(work, asked, plans, output_dir.name)
        info = dataclasses.replace(
            source.info,
            command="sensitivity",
            identity=identity,
            seed=seed,
            recipe=recipe,
            inputs=inputs,
            metrics={"complete": all(plan.complete for plan in plans.values())},
        )
        write_run(work, info, source.weights, [])
    _tell(plans, output_dir)
    following = f"edge-msa export --target {profile.name} --model {output_dir} --output-dir bundle"
    made("calibration with a placement", output_dir, following)
    return read_run(output_dir)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is searched for."""

    source: Run
    request: ExportRequest
    limits: Limits
    seed: int


def _journal(work: Path, rule_set: str) -> Path:
    return work / f"evaluations-{rule_set}.json"


def _start_from(work: Path, source: Run, before: Run | None) -> None:
    """Copy what the calibration holds, and the answers of an earlier search of the same identity."""
    own = (INFO_NAME, LOG_NAME, WEIGHTS_NAME)
    for path in source.path.iterdir():
        if path.is_file() and path.name not in own:
            shutil.copyfile(path, work / path.name)
    for path in before.path.glob("evaluations-*.json") if before else ():
        if not (work / path.name).is_file():
            shutil.copyfile(path, work / path.name)


def _search(asked: _Asked, engine: EngineProfile, dataset: Dataset, work: Path, budget: float) -> Plan:
    rule_set = str(engine.rule_set)
    graphs = graphs_of(asked.source)
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        judge = Judge.of(graphs, asked.request, engine, dataset, Path(scratch), SAMPLES, asked.seed)
        weights = judge.weights  # without those that calibrate keeps float
        remark(f"{rule_set}: {len(weights)} layers, {judge.samples} validation samples, by {judge.executes}")
        return search_placement(
            weights, judge, _journal(work, rule_set), limits=asked.limits, budget=budget, progress=remark
        )


def _write(work: Path, asked: _Asked, plans: Mapping[str, Plan], name: str) -> None:
    before = asked.request.float_nodes
    float_nodes = {**before} | {rules: {**before.get(rules, {}), **plan.float_nodes} for rules, plan in plans.items()}
    write_float_nodes(work, float_nodes)
    graphs = with_fronts(graphs_of(asked.source), asked.request.text)
    told = explained(dataclasses.replace(asked.request, float_nodes=float_nodes), graphs)
    parts = [
        SensitivityPart(
            rule_set,
            _sentences(plan),
            tuple(_bar(layer, plan) for layer in plan.layers),
            asked.limits.distance,
            tuple(
                (item["node"], item["op"], "int8" if item["int8"] else "float", item["reason"])
                for item in told.provenance["placement"][rule_set]
            ),
        )
        for rule_set, plan in plans.items()
    ]
    page = SensitivityPage(
        f"Sensitivity of {name}", f"{asked.request.profile.name}, against the gate on validation", parts
    )
    write_text(work / PAGE_NAME, render_sensitivity(page))


def _bar(layer: Layer, plan: Plan) -> LayerBar:
    return LayerBar(
        layer.weight,
        layer.alone_int8.distance if layer.alone_int8 else None,
        plan.all_int8.distance - layer.alone_float.distance if layer.alone_float else None,
        is_float=layer.weight in plan.float_nodes,
    )


def _sentences(plan: Plan) -> tuple[str, ...]:
    kept = len(plan.float_nodes)
    first = f"All {len(plan.layers)} layers in int8 lose {plan.all_int8.drop:.2f} points on the worst subset and lie "
    first += f"{plan.all_int8.distance:.4f} of a standard deviation from fp32."
    second = f"{kept or 'None'} of them kept float: {plan.score.drop:.2f} points, {plan.score.distance:.4f}; "
    second += "within the limits." if plan.passed else "beyond the limits."
    third = () if plan.complete else ("The budget ended first: this is the best so far, the same command goes on.",)
    return (first, second, *third)


def _tell(plans: Mapping[str, Plan], output_dir: Path) -> None:
    for rule_set, plan in plans.items():
        for sentence in _sentences(plan):
            say(f"{rule_set}: {sentence}")
        for weight, reason in plan.float_nodes.items():
            say(f"  {weight}: {reason}")
    say(f"picture: {output_dir / PAGE_NAME}")
