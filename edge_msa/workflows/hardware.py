"""Start the hardware of a training from the arguments of a function."""

from __future__ import annotations

from edge_msa.arguments import AnyPath, path_of
from edge_msa.training.context import Hardware, Precision, TrainingContext
from edge_msa_runtime.output_paths import CONTAINER, check_output


def start_hardware(
    device: str = "auto",
    precision: Precision = "auto",
    *,
    compiled: bool = False,
    tensorboard: AnyPath | None = None,
) -> TrainingContext:
    """Return the context of a training on this machine.

    Args:
        device: Device to train on: `auto`, `cpu` or `cuda`.
        precision: Training precision: `auto`, `32` or `bf16`.
        compiled: Whether to compile the network with torch.compile.
        tensorboard: Folder for TensorBoard event files (default: none).

    Raises:
        UsageError: An argument is unknown, or the folder cannot be written.
        BackendUnavailableError: The device is not available, or there is no compiler.
    """
    log_dir = None if tensorboard is None else path_of(tensorboard, "tensorboard", "the path of a folder")
    if log_dir is not None:
        check_output(log_dir, CONTAINER)
    return Hardware(device, precision, compiled, log_dir).start()
