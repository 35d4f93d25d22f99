"""`edge-msa calibrate`: statistics of a student's activations, and the ranges of INT8."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, find_current_run, load_run, new_run, write_run
from edge_msa.console import made, print_up_to_date, remark, remarks
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.deployment.graphs import graphs_of
from edge_msa.deployment.text_assets import text_of
from edge_msa.quantization.calibration_files import Ranges, write_fp32_weights, write_ranges
from edge_msa.training.run_data import encode_texts_for_run, open_unencoded_dataset_for_run
from edge_msa.training.text.apply import copy_text_input, text_ids
from edge_msa_calibrate.collect import Checkpoint, Sample, collect_statistics
from edge_msa_calibrate.drift import measure_drift, significant_drift
from edge_msa_calibrate.layers import TEXT_ENCODER, encoder_of
from edge_msa_calibrate.quantization_noise import find_noisy_layers
from edge_msa_calibrate.ranges import Method, compute_ranges, format_ranges
from edge_msa_calibrate.schemes import SCHEMES
from edge_msa_calibrate.smoothing import compute_smoothing
from edge_msa_calibrate.statistics import Statistics
from edge_msa_export.graphs.files import Graph, GraphsByKey, write_graphs
from edge_msa_export.graphs.text_encoder import export_text_encoders
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
    source = load_run(model, "student")
    spec = source.spec
    dataset = open_unencoded_dataset_for_run(source, data, task)
    recipe = {"method": method, "num_samples": num_samples}
    inputs = {"data": dataset.digest, "student": source.digest}
    cache_key = compute_cache_key("calibrate", recipe, seed, inputs)
    if run := find_current_run(output_dir, cache_key):
        print_up_to_date(output_dir)
        return run
    normalized = spec.normalize(encode_texts_for_run(source, dataset))
    text = text_of(source)
    with new_run(output_dir, cache_key) as work:
        graphs = graphs_of(source)
        observed = _observed(graphs, text, spec)
        samples = _samples(normalized, spec, text, num_samples, seed)
        statistics = collect_statistics(observed, samples, checkpoint=Checkpoint(work / CHECKPOINT_NAME, cache_key))
        smoothing = compute_smoothing(statistics)
        ranges = compute_ranges(statistics, method, smoothing)
        write_graphs(work, graphs)
        statistics.save(work / STATISTICS_NAME)
        write_ranges(work, ranges, smoothing)
        coarse = find_noisy_layers(statistics.histograms, ranges)
        write_fp32_weights(work, dict.fromkeys(SCHEMES, coarse))
        metrics = {"samples": min(num_samples, len(dataset.split("train"))), "tensors": len(ranges)}
        info = dataclasses.replace(
            source.info,
            kind="calibration",
            command="calibrate",
            cache_key=cache_key,
            seed=seed,
            recipe=recipe,
            inputs=inputs,
            metrics=metrics,
        )
        if spec.text_input:
            copy_text_input(source.path, work)
        write_run(work, info, source.weights, [])
    _tell_float(spec, ranges, coarse)
    met = list(_samples(normalized, spec, text, VALIDATION_SAMPLES, seed, "valid"))
    _warn_of_drift(observed, met, statistics, ranges)
    if not in_pipeline:
        remark(format_ranges(ranges))
    following = None if in_pipeline else f"edge-msa export --target laptop --model {output_dir} --output-dir bundle"
    made(f"calibration over {metrics['samples']} samples", output_dir, following)
    return load_run(output_dir)


def _tell_float(spec: ModelSpec, ranges: Ranges, coarse: Mapping[str, str]) -> None:
    """Say which parts stay float at int8, and why."""
    seen = {encoder_of(key) for key in ranges}
    remarks(
        f"{name}: no training frame of it, its encoder stays float at int8" for name in spec.dims if name not in seen
    )
    remarks(f"{weight} stays float at int8: {reason}" for weight, reason in coarse.items())


def _observed(graphs: GraphsByKey, text: Text | None, spec: ModelSpec) -> dict[str, Graph]:
    """The graphs that are watched, by what they read: a subset's frames, or a text by an encoder."""
    observed = {key.subset.value: graph for key, graph in graphs.items() if key.role == "window" and key.length is None}
    if isinstance(text, TextGraph):
        observed[TEXT_ENCODER] = next(iter(export_text_encoders(text, [spec.windows["language"]]).values()))
    return observed


def _samples(
    dataset: Dataset,
    spec: ModelSpec,
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
        words = TextTokenizer(text.tokenizer, text.max_tokens, special=True)
        yield from text_ids(words, [split.texts[row] for row in chosen], spec.windows["language"])


def _warn_of_drift(
    observed: Mapping[str, Graph], samples: Sequence[Sample], statistics: Statistics, ranges: Ranges
) -> None:
    """Say where validation's activations differ from the calibration set's."""
    if not samples:
        return
    drifts = measure_drift(statistics, collect_statistics(observed, samples), ranges)
    far = significant_drift(drifts)
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
