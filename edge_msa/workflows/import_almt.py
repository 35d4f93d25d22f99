"""`edge-msa import almt`: convert a checkpoint of ALMT into a teacher run."""

from __future__ import annotations

import dataclasses

from edge_msa.arguments import AnyPath, path_of
from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.artifacts.requests import Request
from edge_msa.artifacts.runs import Run, RunInfo, find_current_run, load_run, new_run, write_run
from edge_msa.console import print_notes, print_output, print_result, print_up_to_date
from edge_msa.data.normalization import FeatureNormalization
from edge_msa.data.tasks import Task, find_task
from edge_msa.errors import UsageError
from edge_msa.models.almt import AlmtConfig
from edge_msa.training.teachers.almt_import import import_almt as convert_checkpoint
from edge_msa.workflows.api import OnProgress, api, next_step
from edge_msa.workflows.outputs import output_folder
from edge_msa_runtime.bundle.hashing import file_sha256

UNNORMALIZED = "imported checkpoint: features are not normalized, so pass them as they were in its training"


@api
def import_almt(
    checkpoint: AnyPath,
    *,
    output_dir: AnyPath,
    task: str = "mosi",
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> Run:
    """Import a checkpoint of ALMT as a teacher. All layer sizes are inferred from the shapes of its tensors.

    Args:
        checkpoint: State dict of ALMT, a `.pth` file that the authors' code or MMSA saved.
        output_dir: Folder of the run. It appears only when it is complete.
        task: Task of the checkpoint: `"mosi"`, `"sims"`, `"emotions"` or `"regression"`.
        overwrite: Whether to replace a run of another checkpoint in `output_dir`.
        verbose: Whether to print progress and notes.
        on_progress: Not called: the import is one step.

    Returns:
        The run, which `evaluate`, `distill` and `explain` take. It has no training data, so pass theirs.

    Raises:
        UsageError: The file does not exist, or its number of outputs does not fit the task.
        DataError: The file is not a checkpoint of ALMT.

    Examples:
        >>> teacher = em.import_almt("almt-mosi.pth", output_dir="teacher")
    """
    file = path_of(checkpoint, "checkpoint", "the path of a .pth file")
    run_dir = output_folder(output_dir, "output_dir", [file])
    target = find_task(task)
    if not file.is_file():
        problem = "is a folder" if file.exists() else "does not exist"
        raise UsageError(f"{file} {problem}. Pass a checkpoint, a .pth file.")
    inputs = {"checkpoint": file_sha256(file), "task": target.kind}
    request = Request("import almt", {}, 0, inputs, {"checkpoint": str(file)})
    if run := find_current_run(run_dir, request):
        print_up_to_date(run_dir)
        return run
    imported = convert_checkpoint(file)
    config = imported.config
    if config.outputs != target.outputs:
        raise UsageError(
            f"The task {target.kind} has {target.outputs} outputs, but {file} has {config.outputs}. "
            "Pass the --task of the checkpoint."
        )
    spec = imported_spec(config, target)
    print_notes((*imported.notes, *spec.normalization.notes))
    with new_run(run_dir, request.cache_key) as work:
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
    print_output("teacher", run_dir, next_step(f"edge-msa evaluate {run_dir} --data FILE"))
    return load_run(run_dir)


def imported_spec(config: AlmtConfig, task: Task) -> ModelSpec:
    """Return the spec of an imported network. Its windows are the network's positions; it has no normalization.

    It takes the language frames at padding as they are in the data: BERT's outputs, which the authors do not mask.
    """
    normalization = dataclasses.replace(FeatureNormalization.identity(config.dims), notes=(UNNORMALIZED,))
    return ModelSpec(task, config.dims, config.lengths, {}, normalization, data_source="", language_padding=True)
