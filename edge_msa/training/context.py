"""The hardware that a training runs on: device, processes, precision, compilation and logs, with Lightning Fabric.

The default is one process. Under `torchrun` or `fabric run`, the same command trains on all started
processes, each with one GPU or a share of the CPU. Every process loads the whole dataset. It encodes its share of each
batch, which is most of the work; then the processes exchange the results and compute the losses of the whole batch.
Training on two processes therefore equals training on one, up to floating-point rounding.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.training.device import resolve_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["auto", "32", "bf16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class TrainingContext:
    """How this process trains. Create it with `Hardware.start`."""

    fabric: Fabric
    """The launched Fabric."""
    precision: str = "32"
    """`32`, or `bf16` for mixed precision with weights and losses in float32."""
    compiled: bool = False
    """Whether objectives are compiled with torch.compile."""
    log_dir: Path | None = None
    """Folder of the TensorBoard event files; None writes none."""

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.fabric.device

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        return int(self.fabric.world_size)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and prints."""
        return bool(self.fabric.is_global_zero)

    def share(self, rows: Tensor) -> Tensor:
        """Return the samples of a batch that this process encodes; a single process encodes all."""
        return rows[self.fabric.global_rank :: self.processes]

    def merge_shares(self, part: Tensor, count: int) -> Tensor:
        """Return the results of all processes in the order of the batch, (count, ...). Gradients flow back.

        Args:
            part: The results of this process for its share, (share, ...).
            count: Number of samples in the batch.
        """
        world = self.processes
        if world == 1:
            return part
        rows = torch.arange(self.fabric.global_rank, count, world, device=part.device)
        full = part.new_zeros(count, *part.shape[1:]).index_copy(0, rows, part)
        # Every process has the loss of the whole batch, so the gradient of a share is the sum over all processes. The
        # mean of the gradients over processes, which DDP computes later, removes that factor again.
        result: Tensor = _SumOverProcesses.apply(full)  # type: ignore[no-untyped-call]
        return result

    def broadcast(self, value: Any) -> Any:
        """Return the value of the first process in every process."""
        return self.fabric.broadcast(value)

    def exit_other_processes(self) -> None:
        """End all processes but the first with exit code 0, because the following steps run only once."""
        if self.processes > 1:
            self.fabric.barrier()
            if not self.is_first:
                raise SystemExit(0)

    def loggers(self, stage: str) -> Sequence[Any]:
        """Return the loggers of a stage that write in addition to the log of the run."""
        if self.log_dir is None or not self.is_first:
            return ()
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return (TensorBoardLogger(self.log_dir, name=stage, version=""),)

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """Return the module and the optimizer, wrapped for this context's device, processes and precision."""
        if self.compiled:
            module.compile()
        wrapped, wrapped_optimizer = self.fabric.setup(module, optimizer)
        return wrapped, wrapped_optimizer


@dataclass(frozen=True)
class Hardware:
    """The hardware options of the command line; `start` creates the context."""

    device: str = "auto"
    """Device to train on: auto, cpu or cuda."""
    precision: Precision = "auto"
    """Precision; auto is bf16 on a GPU that supports it, otherwise 32."""
    compiled: bool = False
    """Whether to use torch.compile."""
    log_dir: Path | None = None
    """Folder of the TensorBoard event files; None writes none."""

    def start(self) -> TrainingContext:
        """Select the device and connect to the other processes, if there are any.

        Raises:
            UsageError: The device or precision is unknown.
            BackendUnavailableError: The device is cuda and torch finds none, or there is no compiler for torch.compile.
        """
        device = resolve_device(self.device)
        if self.precision not in PRECISIONS:
            raise UsageError(f"--training-precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32"
        if self.compiled:
            _check_compiler(device)
        if device.type == "cuda":
            # cuBLAS is only deterministic with this setting.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
        return TrainingContext(_launch(device, precision), precision, self.compiled, self.log_dir)


def cpu_has_bf16() -> bool:
    """Return whether torch knows that the processor has instructions for products of bf16 matrices."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))


def _launch(device: torch.device, precision: str) -> Fabric:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
    plan: dict[str, Any] = {"devices": local, "num_nodes": max(1, processes // local)}
    if processes > 1:
        # A disabled loss term leaves the same parameters without a gradient in every step.
        plan["strategy"] = DDPStrategy(static_graph=True)
    for name in [name for name in os.environ if name.startswith("LT_")]:
        del os.environ[name]  # `fabric run` only launches processes here; the command's options decide the rest
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # otherwise it logs the launch itself
    fabric = Fabric(accelerator=device.type, precision="bf16-mixed" if precision == "bf16" else "32-true", **plan)
    fabric.launch()
    return fabric


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _check_compiler(device: torch.device) -> None:
    """Raise an error before the first step if torch.compile lacks the C++ compiler that it needs on a CPU."""
    from torch.utils import cpp_extension

    compiler: str = cpp_extension.get_cxx_compiler()  # type: ignore[no-untyped-call]
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise BackendUnavailableError(
            "--compile needs a C++ compiler on a CPU. Install g++, or train without --compile."
        )
