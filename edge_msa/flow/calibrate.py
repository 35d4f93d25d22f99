"""`edge-msa calibrate`: statistics of a student's activations, and the ranges of INT8."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset
from edge_msa.errors import RunError
from edge_msa.flow.console import made, remark, remarks, say
from edge_msa.flow.data import opened_for
from edge_msa.flow.graphs import graphs_of
from edge_msa.runs import Run, current_run, identity_of, new_run, read_run, write_run
from edge_msa_calibrate.ranges import Method, compute_ranges, format_ranges
from edge_msa_calibrate.statistics import CalibrationSample, gather_statistics
from edge_msa_export.graph_files import write_graphs
from edge_msa_runtime.modalities import Subset, subsets_of

STATISTICS_NAME = "statistics.npz"
RANGES_NAME = "ranges.json"

Ranges = dict[str, tuple[float, float]]


def calibrate_student(
    data: str | None,
    model: Path,
    output_dir: Path,
    *,
    method: Method = "mse",
    num_samples: int = 512,
    seed: int = 0,
    task: str | None = None,
    in_pipeline: bool = False,
) -> Run:
    """Gather statistics, choose ranges, and write them with the student as a run; skipped when one is there."""
    source = read_run(model, "student")
    contract = Contract.from_json(source.info.contract)
    dataset = opened_for(source, contract, data, task)
    normalised = contract.normalised(dataset)
    recipe = {"method": method, "num_samples": num_samples}
    inputs = {"data": dataset.digest, "student": source.digest}
    identity = identity_of("calibrate", recipe, seed, inputs)
    if run := current_run(output_dir, identity):
        say(f"calibration: {output_dir} is up to date, skipped")
        return run
    with new_run(output_dir, identity) as work:
        graphs = graphs_of(source)
        windows = {key.scope: graph for key, graph in graphs.items() if key.role == "window"}
        samples = calibration_samples(normalised, contract.windows, num_samples, seed)
        statistics = gather_statistics(windows, samples)
        ranges = compute_ranges(statistics, method)
        write_graphs(work, graphs)
        statistics.save(work / STATISTICS_NAME)
        plain = {key: (float(low), float(high)) for key, (low, high) in ranges.items()}
        (work / RANGES_NAME).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        metrics = {"samples": min(num_samples, len(dataset.split("train"))), "tensors": len(plain)}
        info = dataclasses.replace(
            source.info,
            kind="calibration",
            command="calibrate",
            identity=identity,
            seed=seed,
            recipe=recipe,
            inputs=inputs,
            metrics=metrics,
        )
        write_run(work, info, source.weights, [])
    seen = {key.split(".")[1] for key in plain}
    remarks(
        f"{name}: no training frame of it, its encoder stays float at int8"
        for name in contract.dims
        if name not in seen
    )
    if not in_pipeline:
        remark(format_ranges(ranges))
    following = None if in_pipeline else f"edge-msa export --target laptop --model {output_dir} --output-dir bundle"
    made(f"calibration over {metrics['samples']} samples", output_dir, following)
    return read_run(output_dir)


def read_ranges(run: Run) -> Ranges | None:
    """The ranges of a calibration run; None for a student that was not calibrated.

    Raises:
        RunError: they cannot be read.
    """
    if run.info.kind != "calibration":
        return None
    path = run.path / RANGES_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: (float(low), float(high)) for key, (low, high) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}): calibrate again") from None


def calibration_samples(
    dataset: Dataset, windows: Mapping[str, int], num_samples: int, seed: int
) -> Iterator[CalibrationSample]:
    """Training samples in random order, each seen from one subset, the subsets in turn.

    A mix, because a bundle meets them all. Encoders see real frames only: absent modalities leave no zeros behind that
    would squeeze a range. A sample that lacks a modality of its turn is seen from what it has.
    """
    split = dataset.split("train")
    subsets = subsets_of(split.modalities)
    order = np.random.default_rng(seed).permutation(len(split))[:num_samples]
    for turn, row in enumerate(order):
        sample = split.sample(int(row))
        wanted = [name for name in subsets[turn % len(subsets)].modalities if name in sample] or list(sample)
        if not wanted:
            continue
        inputs: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
        for name in wanted:
            window = windows[name]
            frames = sample[name][:window]
            inputs[f"frames.{name}"] = np.pad(frames, ((0, window - len(frames)), (0, 0)))[None]
            inputs[f"valid.{name}"] = (np.arange(window) < len(frames)).astype(np.float32)[None]
        yield CalibrationSample(Subset.of(wanted).value, inputs)
