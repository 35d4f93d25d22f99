"""`edge-msa calibrate`: statistics of a student's activations, and the ranges of INT8."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.contract import Contract
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.words import Words
from edge_msa.flow.calibrated import Ranges, write_float_nodes, write_ranges
from edge_msa.flow.console import made, remark, remarks, say
from edge_msa.flow.data import opened_plain, seen_by
from edge_msa.flow.graphs import graphs_of
from edge_msa.flow.spoken import carry_spoken, spoken_ids
from edge_msa.flow.words import text_of
from edge_msa.runs import Run, current_run, identity_of, new_run, read_run, write_run
from edge_msa_calibrate.drift import differing, drifts_of
from edge_msa_calibrate.gather import Checkpoint, Sample, gather_statistics
from edge_msa_calibrate.noise import too_coarse
from edge_msa_calibrate.placement import RULE_SETS
from edge_msa_calibrate.ranges import Method, compute_ranges, format_ranges
from edge_msa_calibrate.sites import owner_of
from edge_msa_calibrate.smoothing import smoothing_of
from edge_msa_calibrate.statistics import FRONT_SCOPE, Statistics
from edge_msa_export.graph_files import Graph, GraphsByKey, write_graphs
from edge_msa_export.graph_front import export_fronts
from edge_msa_export.text import Text, TextGraph
from edge_msa_runtime.modalities import subsets_of

STATISTICS_NAME = "statistics.npz"
CHECKPOINT_NAME = "checkpoint-statistics.npz"
VALIDATION_SAMPLES = 128
"""How many validation samples the calibration set is compared with."""
DRIFTS_TOLD = 5
ENCODED = 4
"""One text goes through an encoder for so many samples: each has tokens enough, and takes long."""


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
    dataset = opened_plain(source, contract, data, task)
    recipe = {"method": method, "num_samples": num_samples}
    inputs = {"data": dataset.digest, "student": source.digest}
    identity = identity_of("calibrate", recipe, seed, inputs)
    if run := current_run(output_dir, identity):
        say(f"calibration: {output_dir} is up to date, skipped")
        return run
    normalised = contract.normalised(seen_by(source, contract, dataset))
    text = text_of(source)
    with new_run(output_dir, identity) as work:
        graphs = graphs_of(source)
        observed = _observed(graphs, text, contract)
        samples = _samples(normalised, contract, text, num_samples, seed)
        statistics = gather_statistics(observed, samples, checkpoint=Checkpoint(work / CHECKPOINT_NAME, identity))
        smoothing = smoothing_of(statistics)
        ranges = compute_ranges(statistics, method, smoothing)
        write_graphs(work, graphs)
        statistics.save(work / STATISTICS_NAME)
        write_ranges(work, ranges, smoothing)
        coarse = too_coarse(statistics.histograms, ranges)
        write_float_nodes(work, dict.fromkeys(RULE_SETS, coarse))
        metrics = {"samples": min(num_samples, len(dataset.split("train"))), "tensors": len(ranges)}
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
        if contract.language:
            carry_spoken(source.path, work)
        write_run(work, info, source.weights, [])
    _tell_float(contract, ranges, coarse)
    met = list(_samples(normalised, contract, text, VALIDATION_SAMPLES, seed, "valid"))
    _warn_of_drift(observed, met, statistics, ranges)
    if not in_pipeline:
        remark(format_ranges(ranges))
    following = None if in_pipeline else f"edge-msa export --target laptop --model {output_dir} --output-dir bundle"
    made(f"calibration over {metrics['samples']} samples", output_dir, following)
    return read_run(output_dir)


def _tell_float(contract: Contract, ranges: Ranges, coarse: Mapping[str, str]) -> None:
    """Say which parts stay float at int8, and why."""
    seen = {owner_of(key) for key in ranges}
    remarks(
        f"{name}: no training frame of it, its encoder stays float at int8"
        for name in contract.dims
        if name not in seen
    )
    remarks(f"{weight} stays float at int8: {reason}" for weight, reason in coarse.items())


def _observed(graphs: GraphsByKey, text: Text | None, contract: Contract) -> dict[str, Graph]:
    """The graphs that are watched, by what they read: a subset's frames, or a text by an encoder."""
    observed = {key.scope: graph for key, graph in graphs.items() if key.role == "window"}
    if isinstance(text, TextGraph):
        observed[FRONT_SCOPE] = next(iter(export_fronts(text, [contract.windows["language"]]).values()))
    return observed


def _samples(
    dataset: Dataset,
    contract: Contract,
    text: Text | None,
    count: int,
    seed: int,
    part: SplitName = "train",
) -> Iterator[Sample]:
    """What is run through the graphs: frames, and where an encoder reads texts their ids, a quarter as many."""
    yield from calibration_samples(dataset, count, seed, part)
    if isinstance(text, TextGraph):
        split = dataset.split(part)
        chosen = np.random.default_rng(seed).permutation(len(split))[: -(-count // ENCODED)]
        words = Words(text.tokenizer, text.max_tokens, special=True)
        yield from spoken_ids(words, [split.texts[row] for row in chosen], contract.windows["language"])


def _warn_of_drift(
    observed: Mapping[str, Graph], samples: Sequence[Sample], statistics: Statistics, ranges: Ranges
) -> None:
    """Say where validation's activations differ from the calibration set's."""
    if not samples:
        return
    drifts = drifts_of(statistics, gather_statistics(observed, samples), ranges)
    far = differing(drifts)
    if far:
        remark(
            f"note: validation differs from the calibration set in {len(far)} of {len(drifts)} tensors, so int8 may "
            "lose more than it shows; calibrate on samples like those that will be met"
        )
    for item in far[:DRIFTS_TOLD]:
        remark(f"  {item}")


def calibration_samples(dataset: Dataset, num_samples: int, seed: int, part: SplitName = "train") -> Iterator[Sample]:
    """Samples of a split in random order, each seen from one subset, the subsets in turn.

    A mix, because a bundle meets them all. Encoders see real frames only: absent modalities leave no zeros behind that
    would squeeze a range. A sample that lacks a modality of its turn is seen from what it has.
    """
    split = dataset.split(part)
    subsets = subsets_of(split.modalities)
    order = np.random.default_rng(seed).permutation(len(split))[:num_samples]
    for turn, row in enumerate(order):
        sample = split.sample(int(row))
        wanted = [name for name in subsets[turn % len(subsets)].modalities if name in sample] or list(sample)
        if wanted:
            yield {name: sample[name] for name in wanted}
