"""`edge-msa export`: every precision is built, measured on validation, held against the gate; one is chosen."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset, Split
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa.flow.calibrate import read_ranges
from edge_msa.flow.choice import Choice, Measured, choose
from edge_msa.flow.console import made, remark, say
from edge_msa.flow.data import opened
from edge_msa.flow.graphs import chunks_of, graphs_of
from edge_msa.flow.measure import measure_variants
from edge_msa.flow.readings import by_run
from edge_msa.runs import Run, read_run
from edge_msa.training.load import student_of
from edge_msa_calibrate.errors import GateFailedError
from edge_msa_export.build import GraphSet, build_graphs
from edge_msa_export.bundle import write_bundle
from edge_msa_export.profiles import DeviceProfile, profile_named
from edge_msa_export.request import ExportRequest, GoldenSample, Normalisation
from edge_msa_runtime.manifest import TaskSpec
from edge_msa_runtime.modalities import Subset, subsets_of

LICENCE = "The weights carry the terms of the data they were trained on; the runtime inside is MIT."
DEFAULT_MODEL = Path("runs/calibrated")


@dataclass(frozen=True)
class Exported:
    """What `export_model` made: the bundle, and what was chosen for each engine."""

    path: Path
    choices: tuple[Choice, ...]


def export_model(
    target: str,
    output_dir: Path | None,
    *,
    model: Path | None = None,
    data: str | None = None,
    precision: str = "auto",
    max_drop: float = 1.0,
    task: str | None = None,
) -> Exported:
    """Write a bundle for a target.

    Raises:
        GateFailedError: the precision that was asked for loses too much; the bundle that passes is written all the
            same.
    """
    profile = profile_named(target)
    output = output_dir or Path(f"bundle-{profile.name}")
    run = read_run(model, "student", "calibration") if model else _default_run()
    contract = Contract.from_json(run.info.contract)
    dataset = opened(data or contract.data, task)
    contract.normalised(dataset)
    request = _request(run, contract, dataset, profile, precision, output.name)
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        graphs = build_graphs(student_of(run), request, Path(scratch) / "graphs", graphs_of(run))
        for (engine, name), reason in graphs.refused.items():
            remark(f"note: {engine} cannot be given {name}: {reason}")
        measured = measure_variants(graphs, request, dataset, by_run(run), Path(scratch))
        choices = tuple(choose(engine.name, measured, precision, max_drop) for engine in profile.engines)
        _write(output, graphs, request, choices, measured)
    for choice in choices:
        say(f"{choice.engine}: {choice.precision}, {choice.reason}")
    made(
        f"bundle for {profile.name}",
        output,
        f"edge-msa-run verify {output}   (on the device: see {output}/README.md)",
    )
    failed = [choice.failure for choice in choices if choice.failure]
    if failed:
        raise GateFailedError(f"{failed[0]}; {output} holds {choices[0].precision}, the best that passed")
    return Exported(output, choices)


def _write(
    output: Path, graphs: GraphSet, request: ExportRequest, choices: tuple[Choice, ...], measured: tuple[Measured, ...]
) -> None:
    accuracy: dict[str, dict[str, Any]] = {}
    for item in measured:
        accuracy.setdefault(item.engine, {})[item.precision] = {
            "measured_by": item.measured_by,
            "by_subset": item.by_subset,
        }
    write_bundle(
        output,
        graphs,
        request,
        {choice.engine: choice.precision for choice in choices},
        accuracy,
        kept={choice.engine: choice.kept for choice in choices},
    )


def _default_run() -> Run:
    """The calibrated student of an earlier pipeline, or one made now on the embedded default."""
    from edge_msa.flow.pipeline import make_model

    if (DEFAULT_MODEL / "run.json").is_file():
        remark(f"note: no --model given, taking {DEFAULT_MODEL} of an earlier run")
    else:
        remark(f"note: no --model given and no earlier run: making the embedded default in {DEFAULT_MODEL.parent}")
        make_model(DEFAULT_MODEL.parent)
    return read_run(DEFAULT_MODEL, "calibration")


def _request(
    run: Run, contract: Contract, dataset: Dataset, profile: DeviceProfile, precision: str, name: str
) -> ExportRequest:
    norm = contract.normalisation
    return ExportRequest(
        name=name,
        profile=profile,
        task=task_spec(contract.task),
        normalisation={
            modality: Normalisation(tuple(norm.mean[modality].tolist()), tuple(norm.std[modality].tolist()))
            for modality in contract.dims
        },
        chunks=chunks_of(contract.windows),
        windows=contract.windows,
        golden=golden_samples(dataset, contract.dims),
        provenance=_provenance(run, dataset),
        licence=LICENCE,
        ranges=read_ranges(run),
        precisions=None if precision == "auto" else ("fp32", precision),
        frame_rates=contract.frame_rates,
    )


def task_spec(task: Task) -> TaskSpec:
    """The task as the device needs it."""
    return TaskSpec(task.kind, task.outputs, task.labels, task.edges)


def golden_samples(dataset: Dataset, modalities: Mapping[str, int]) -> list[GoldenSample]:
    """One validation sample a subset, the longest that has every modality of it; else made of several samples.

    A subset whose modalities never meet in one sample still has to be verified on the device.
    """
    split = dataset.split("valid")
    return [
        GoldenSample(subset, {name: _longest(split, subset, name) for name in subset.modalities})
        for subset in subsets_of(modalities)
    ]


def _longest(split: Split, subset: Subset, modality: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    frames = split.modalities.get(modality)
    if frames is None or not frames.valid.any():
        raise DataError(f"the valid split has no {modality}, which the model reads: give --data that has it")
    lengths = {name: split.modalities[name].lengths for name in subset.modalities if name in split.modalities}
    whole = np.all([length > 0 for length in lengths.values()], axis=0)
    total = np.sum(list(lengths.values()), axis=0)
    row = int(np.argmax(np.where(whole, total, 0) if whole.any() else lengths[modality]))
    return split.sample(row)[modality]


def _provenance(run: Run, dataset: Dataset) -> dict[str, Any]:
    info = run.info
    return {
        "run": run.digest,
        "model": info.model,
        "seed": info.seed,
        "parameters": int(sum(value.size for value in run.weights.values())),
        "config": dict(info.config),
        "inputs": dict(info.inputs),
        "data": {"name": dataset.name, "digest": dataset.digest},
        "git_revision": info.git_revision,
        "versions": dict(info.versions),
        "calibration": dict(info.recipe) if info.kind == "calibration" else None,
    }
