"""`edge-msa import almt`: convert a checkpoint of ALMT into a teacher run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, find_current_run, load_run, new_run, write_run
from edge_msa.console import print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import Task, find_task
from edge_msa.errors import UsageError
from edge_msa.models.almt import AlmtConfig
from edge_msa.training.teachers.almt_import import import_almt
from edge_msa_runtime.bundle.hashing import file_sha256

UNNORMALIZED = "imported checkpoint: features are not normalized, so pass them as they were in its training"


def import_checkpoint(checkpoint: Path, output_dir: Path, *, task: str = "mosi") -> Run:
    """Write a run with the weights of a checkpoint, unless an identical run exists.

    Args:
        checkpoint: State dict of ALMT, as written by the authors or by MMSA.
        output_dir: Folder of the run.
        task: Name of the task that the checkpoint was trained for.

    Raises:
        UsageError: The file does not exist, or its number of outputs does not fit the task.
        DataError: The file is not a checkpoint of ALMT.
    """
    target = find_task(task)
    if not checkpoint.is_file():
        problem = "is a folder" if checkpoint.exists() else "does not exist"
        raise UsageError(f"{checkpoint} {problem}. Pass a checkpoint, a .pth file.")
    inputs = {"checkpoint": file_sha256(checkpoint), "task": target.kind}
    request = Request("import almt", {}, 0, inputs, {"checkpoint": str(checkpoint)})
    if run := find_current_run(output_dir, request):
        print_up_to_date(output_dir)
        return run
    imported = import_almt(checkpoint)
    config = imported.config
    if config.outputs != target.outputs:
        raise UsageError(
            f"The task {target.kind} has {target.outputs} outputs, but {checkpoint} has {config.outputs}. "
            "Pass the --task of the checkpoint."
        )
    spec = imported_spec(config, target)
    print_notes((*imported.notes, *spec.normalization.notes))
    with new_run(output_dir, request.cache_key) as work:
        info = RunInfo(
            kind="teacher",
            model="almt",
            **request.to_json(),
            config=dataclasses.asdict(config),
            spec=spec,
            metrics={},
        )
        write_run(work, info, imported.weights, [])
    count = sum(value.size for value in imported.weights.values())
    sizes = ", ".join(f"{name} {config.lengths[name]} x {dim}" for name, dim in config.dims.items())
    print_result(f"ALMT with {count:,} parameters; frames x features: {sizes}; {config.fusion_depth} fusion layers")
    print_output("teacher", output_dir, f"edge-msa evaluate {output_dir} --data FILE")
    return load_run(output_dir)


def imported_spec(config: AlmtConfig, task: Task) -> ModelSpec:
    """Return the spec of an imported network. Its windows are the network's positions; it has no normalization.

    It takes the language frames at padding as they are in the data: BERT's outputs, which the authors do not mask.
    """
    normalization = dataclasses.replace(FeatureNormalization.identity(config.dims), notes=(UNNORMALIZED,))
    return ModelSpec(task, config.dims, config.lengths, {}, normalization, data_source="", language_padding=True)
