"""What an export is asked for, made of a run, its data and a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, Split
from edge_msa.data.tasks import Task
from edge_msa.deployment.graphs import chunks_of
from edge_msa.deployment.text_assets import text_of
from edge_msa.errors import DataError
from edge_msa.quantization.calibration_files import read_fp32_weights, read_ranges, read_smoothing
from edge_msa_export.profiles import DeviceProfile
from edge_msa_export.request import ExportRequest, GoldenSample, Normalization
from edge_msa_export.text import Text
from edge_msa_runtime.bundle.manifest import TaskSpec
from edge_msa_runtime.modalities import Subset, subsets_of

LICENSE = "The weights carry the terms of the data they were trained on; the runtime inside is MIT."


def export_request(
    run: Run, spec: ModelSpec, dataset: Dataset, profile: DeviceProfile, precision: str, name: str
) -> ExportRequest:
    """The request for a run's student on a target.

    Args:
        run: a student or a calibration.
        spec: the run's.
        dataset: raw; golden samples come from its valid split, or else from train.
        profile: the target's.
        precision: `auto` for all that the target has, or one by name, beside fp32.
        name: of the bundle.

    Raises:
        DataError: both lack a modality that the model reads.
    """
    norm = spec.normalization
    text = text_of(run)
    return ExportRequest(
        name=name,
        profile=profile,
        task=task_spec(spec.task),
        normalization={
            modality: Normalization(tuple(norm.mean[modality].tolist()), tuple(norm.std[modality].tolist()))
            for modality in spec.dims
        },
        chunks=chunks_of(spec.windows),
        windows=spec.windows,
        golden=golden_samples(dataset, spec.dims, text_input=spec.text_input is not None),
        provenance=_provenance(run, dataset, text),
        license=LICENSE,
        ranges=read_ranges(run),
        smoothing=read_smoothing(run),
        fp32_weights=read_fp32_weights(run),
        precisions=None if precision == "auto" else ("fp32", precision),
        frame_rates=spec.frame_rates,
        text=text,
    )


def task_spec(task: Task) -> TaskSpec:
    """The task as the device needs it."""
    return TaskSpec(task.kind, task.outputs, task.labels, task.edges)


def golden_samples(dataset: Dataset, modalities: Mapping[str, int], *, text_input: bool = False) -> list[GoldenSample]:
    """One validation sample a subset, the longest that has every modality of it; else made of several samples.

    A subset whose modalities never meet in one sample still has to be verified on the device. Where validation lacks a
    modality that the model reads, all of them are training samples. `text_input`: what was said goes with the frames.
    """
    split = dataset.split("valid")
    if not all(name in split.modalities and split.modalities[name].valid.any() for name in modalities):
        split = dataset.splits.get("train", split)
    samples = []
    for subset in subsets_of(modalities):
        rows = {name: _longest(split, subset, name) for name in subset.modalities}
        text = split.texts[rows["language"]] if text_input and "language" in rows else None
        samples.append(GoldenSample(subset, {name: split.sample(row)[name] for name, row in rows.items()}, text))
    return samples


def _longest(split: Split, subset: Subset, modality: str) -> int:
    """The row of the sample that gives that modality of that subset."""
    frames = split.modalities.get(modality)
    if frames is None or not frames.valid.any():
        raise DataError(f"neither valid nor train has {modality}, which the model reads: give --data that has it")
    lengths = {name: split.modalities[name].lengths for name in subset.modalities if name in split.modalities}
    whole = np.all([length > 0 for length in lengths.values()], axis=0)
    total = np.sum(list(lengths.values()), axis=0)
    return int(np.argmax(np.where(whole, total, 0) if whole.any() else lengths[modality]))


def _provenance(run: Run, dataset: Dataset, text: Text | None) -> dict[str, Any]:
    info = run.info
    own = int(sum(value.size for value in run.weights.values()))
    return {
        "run": run.digest,
        "model": info.model,
        "seed": info.seed,
        "parameters": own + (text.parameters if text else 0),
        "config": dict(info.config),
        "inputs": dict(info.inputs),
        "data": {"name": dataset.name, "digest": dataset.digest},
        "git_revision": info.git_revision,
        "versions": dict(info.versions),
        "calibration": dict(info.recipe) if info.kind == "calibration" else None,
    }
