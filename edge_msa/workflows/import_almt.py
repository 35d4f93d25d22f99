"""`edge-msa import almt`: a checkpoint that others trained becomes a teacher's run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from edge_msa.artifacts.cache import compute_cache_key
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.runs import Run, RunInfo, find_current_run, load_run, new_run, write_run
from edge_msa.console import print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import Task, find_task
from edge_msa.errors import UsageError
from edge_msa.models.almt import AlmtConfig
from edge_msa.training.teachers.almt_import import import_almt
from edge_msa_runtime.bundle.hashing import file_sha256

UNNORMALIZED = "imported: features are read as they are, give them as the checkpoint's makers did"


def import_checkpoint(checkpoint: Path, output_dir: Path, *, task: str = "mosi") -> Run:
    """Write the checkpoint's run; skipped when an identical one is there."""
    meaning = find_task(task)
    if not checkpoint.is_file():
        what = "is a folder" if checkpoint.exists() else "does not exist"
        raise UsageError(f"{checkpoint} {what}: give a checkpoint, a .pth file")
    inputs = {"checkpoint": file_sha256(checkpoint), "task": meaning.kind}
    cache_key = compute_cache_key("import almt", {}, 0, inputs)
    if run := find_current_run(output_dir, cache_key):
        print_up_to_date(output_dir)
        return run
    imported = import_almt(checkpoint)
    config = imported.config
    if config.outputs != meaning.outputs:
        raise UsageError(
            f"{checkpoint} gives {config.outputs} numbers a sample, the task {meaning.kind} has {meaning.outputs}: "
            "give its --task"
        )
    spec = spec_of(config, meaning)
    print_notes((*imported.notes, *spec.normalization.notes))
    with new_run(output_dir, cache_key) as work:
        info = RunInfo(
            kind="teacher",
            model="almt",
            command="import",
            cache_key=cache_key,
            seed=0,
            recipe={},
            config=dataclasses.asdict(config),
            spec=spec,
            inputs=inputs,
            metrics={},
        )
        write_run(work, info, imported.weights, [])
    count = sum(value.size for value in imported.weights.values())
    sizes = ", ".join(f"{name} {config.lengths[name]} x {dim}" for name, dim in config.dims.items())
    print_result(f"ALMT of {count:,} parameters; frames x features: {sizes}; fusion of {config.fusion_depth} layers")
    print_output("teacher", output_dir, f"edge-msa evaluate {output_dir} --data FILE")
    return load_run(output_dir)


def spec_of(config: AlmtConfig, task: Task) -> ModelSpec:
    """What later steps must know: windows are the network's positions, frame rates unknown, features as they come."""
    mean = {name: np.zeros(dim, np.float32) for name, dim in config.dims.items()}
    std = {name: np.ones(dim, np.float32) for name, dim in config.dims.items()}
    normalization = FeatureNormalization(mean, std, (UNNORMALIZED,))
    return ModelSpec(task, config.dims, config.lengths, {}, normalization, data_source="")
