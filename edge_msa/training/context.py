"""Where and how a training runs: device, processes, precision, compilation, logs. Lightning Fabric does the work.

One process is the default. Under `torchrun` or `fabric run` the same command trains on as many processes as were
started, one GPU each, or one share of the CPU each. Every process holds the whole data set. Of a batch it encodes its
own share of samples, where the work is; what they become is then gathered, and the losses are those of the whole batch
in every process, so a training on two processes is the training on one, to float rounding.
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
    """How trainings of this process run; `Hardware.start` makes it.

    `fabric`: launched. `precision`: `32`, or `bf16` (mixed: weights and losses stay float32). `compiled`: whether
    objectives go through torch.compile. `log_dir`: where TensorBoard's event files go, if anywhere. `progress`:
    whether to draw progress bars on stderr.
    """

    fabric: Fabric
    precision: str = "32"
    compiled: bool = False
    log_dir: Path | None = None
    progress: bool = False

    @property
    def device(self) -> torch.device:
        """Of this process."""
        return self.fabric.device

    @property
    def processes(self) -> int:
        """How many train together, this one included."""
        return int(self.fabric.world_size)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return bool(self.fabric.is_global_zero)

    def share(self, rows: Tensor) -> Tensor:
        """The samples of a batch that this process encodes: every process-count-th one; the batch itself for one."""
        return rows[self.fabric.global_rank :: self.processes]

    def whole(self, part: Tensor, count: int) -> Tensor:
        """What all processes made of their shares, in the batch's order; the gradient finds its way back.

        Args:
            part: (share, ...) of this process.
            count: samples of the batch.
        """
        world = self.processes
        if world == 1:
            return part
        places = torch.arange(self.fabric.global_rank, count, world, device=part.device)
        full = part.new_zeros(count, *part.shape[1:]).index_copy(0, places, part)
        # Each process has the loss of the whole batch, so what flows back to a share is the sum over all of them; the
        # gradients' mean over processes, which follows, takes that factor out again.
        gathered: Tensor = _SumOverProcesses.apply(full)  # type: ignore[no-untyped-call]
        return gathered

    def agree(self, value: Any) -> Any:
        """What the first process says, in every process."""
        return self.fabric.broadcast(value)

    def dismiss_others(self) -> None:
        """End every process but the first, successfully: what follows is done once."""
        if self.processes > 1:
            self.fabric.barrier()
            if not self.is_first:
                raise SystemExit(0)

    def loggers(self, stage: str) -> Sequence[Any]:
        """Where a stage's numbers go beside the run's own log."""
        if self.log_dir is None or not self.is_first:
            return ()
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return (TensorBoardLogger(self.log_dir, name=stage, version=""),)

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, Any]:
        """The module as it is to be called, and the optimizer, for this context's device, processes and precision."""
        if self.compiled:
            module.compile()
        wrapped, wrapped_optimizer = self.fabric.setup(module, optimizer)
        return wrapped, wrapped_optimizer


@dataclass(frozen=True)
class Hardware:
    """What a user asks for; `start` makes the context of it."""

    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Precision = "auto"
    """auto is bf16 on a GPU that has it, else 32."""
    compiled: bool = False
    """Whether what is trained goes through torch.compile."""
    log_dir: Path | None = None
    """Folder of TensorBoard's event files; None for none."""

    def start(self, *, progress: bool = False) -> TrainingContext:
        """Find the device, and the other processes if this one was started among several.

        Args:
            progress: whether to draw progress bars.

        Raises:
            UsageError: another device or precision.
            BackendUnavailableError: cuda was asked for, and torch finds none; or compilation, and nothing here can compile.
        """
        place = resolve_device(self.device)
        if self.precision not in PRECISIONS:
            raise UsageError(f"unknown precision {self.precision!r}; --precision takes one of: {', '.join(PRECISIONS)}")
        precision = self.precision
        if precision == "auto":
            precision = "bf16" if place.type == "cuda" and torch.cuda.is_bf16_supported() else "32"
        if self.compiled:
            _check_compiler(place)
        if place.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with it alone
            torch.use_deterministic_algorithms(mode=True, warn_only=True)
        return TrainingContext(_fabric(place, precision), precision, self.compiled, self.log_dir, progress)


def _fabric(place: torch.device, precision: str) -> Fabric:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(processes)))
    plan: dict[str, Any] = {"devices": local, "num_nodes": max(1, processes // local)}
    if processes > 1:
        # A loss term that is switched off leaves parameters without a gradient, in every step alike.
        plan["strategy"] = DDPStrategy(static_graph=True)
    for name in [name for name in os.environ if name.startswith("LT_")]:
        del os.environ[name]  # `fabric run` is a launcher here like torchrun; the command's own options decide the rest
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what it is about to do, nobody asked
    fabric = Fabric(accelerator=place.type, precision="bf16-mixed" if precision == "bf16" else "32-true", **plan)
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


def _check_compiler(place: torch.device) -> None:
    """torch.compile needs a C++ compiler on a CPU, and Triton on a GPU; better said now than in the first step."""
    from torch.utils import cpp_extension

    compiler: str = cpp_extension.get_cxx_compiler()  # type: ignore[no-untyped-call]
    if place.type == "cpu" and shutil.which(compiler) is None:
        raise BackendUnavailableError(
            "--compile needs a C++ compiler on a CPU: install g++, or train without --compile"
        )
