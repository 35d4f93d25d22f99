"""The epoch loop that every training of the project uses.

What is trained enters as an `Objective`; the loop owns order, optimizer, learning rate, the best epoch, the log, the
checkpoint and the progress bar. Order and dropout are keyed by (seed, epoch), so a training that was interrupted ends
with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor, nn

from edge_msa.errors import TrainingError, UsageError
from edge_msa.training import checkpoint
from edge_msa.training.checkpoint import LogRow, Progress
from edge_msa.training.randomness import generator_of, seed_of

_ORDER, _DROPOUT = 1, 2


@dataclass(frozen=True)
class FitPlan:
    """How one `fit` goes."""

    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises linearly from 0."""
    cosine: bool = True
    """Whether the learning rate then falls to 0 along a cosine; else it stays."""
    weight_decay: float = 0.0
    """Decoupled (AdamW); 0 makes it Adam."""
    clip: float = 1.0
    """Largest norm of the gradient over all parameters."""
    patience: int | None = None
    """Stop after that many epochs without a better validation metric; None: never."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"warmup is {self.warmup}; it is a share of all steps, at least 0 and below 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"weight_decay is {self.weight_decay}; it must be a finite number, at least 0")
        if self.patience is not None and self.patience < 1:
            raise UsageError(f"patience is {self.patience}; it counts epochs, at least 1")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step (from 0) out of `steps`."""
        rising = self.warmup * steps
        if step < rising:
            return self.learning_rate * (step + 1) / (rising + 1)
        if not self.cosine:
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))


class Objective(Protocol):
    """What `fit` trains: `module` holds every parameter that learns, and is in training mode during `step`."""

    @property
    def module(self) -> nn.Module:
        """All that learns."""

    @property
    def size(self) -> int:
        """Training samples."""

    def begin(self, epoch: int) -> None:
        """Prepare an epoch (from 0), for instance draw its masks."""

    def step(self, rows: Tensor) -> Mapping[str, Tensor]:
        """Scalar loss terms of those samples; `loss` is the one that is minimised, the others are logged."""

    def validate(self) -> Mapping[str, float]:
        """Validation numbers; `metric` decides the best epoch, lower is better. Called in evaluation mode, no grad."""


@dataclass(frozen=True)
class Fitted:
    """Result of `fit`: the objective's module has the best epoch's weights; `best_epoch` counts from 0."""

    rows: list[LogRow]
    best: float
    best_epoch: int


def fit(
    objective: Objective,
    plan: FitPlan,
    *,
    seed: int,
    work_dir: Path,
    fingerprint: str = "",
    stage: str = "train",
    progress: bool = False,
) -> Fitted:
    """Train, or go on where an earlier call with the same fingerprint stopped.

    Args:
        objective: what to train; its module is on its device already.
        plan: epochs, batch size, learning rate and the rest.
        seed: of order and dropout.
        work_dir: folder of the checkpoint, made if needed.
        fingerprint: names data, recipe and code that a checkpoint must share to be gone on from.
        stage: what rows and the progress bar call this training.
        progress: whether to draw a progress bar on stderr.

    Raises:
        TrainingError: the loss or the validation metric is not finite.
        RunError: the checkpoint cannot be read or written.
    """
    module = objective.module
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    fingerprint = f"{stage} seed={seed} {plan} {fingerprint}"
    state = checkpoint.load(work_dir, fingerprint, device)
    if state is None:
        state = Progress(module.state_dict(), optimizer.state_dict())
    else:
        module.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
    with torch.random.fork_rng(), _bar(stage, plan, state.epoch, objective.size, progress) as advance:
        run = _Run(objective, plan, optimizer, seed, stage, advance)
        while state.epoch < plan.epochs and not _exhausted(state, plan):
            run.epoch(state)
            state.weights, state.optimizer = module.state_dict(), optimizer.state_dict()
            checkpoint.save(state, fingerprint, work_dir)
    module.load_state_dict(state.best_weights)
    module.eval()
    return Fitted(state.rows, state.best, state.best_epoch)


@dataclass(frozen=True)
class _Run:
    """What stays the same from epoch to epoch."""

    objective: Objective
    plan: FitPlan
    optimizer: torch.optim.Optimizer
    seed: int
    stage: str
    advance: Callable[[int, str], None]

    def epoch(self, state: Progress) -> None:
        """One epoch: train, validate, log, remember the best."""
        started, module, epoch = time.monotonic(), self.objective.module, state.epoch
        self.objective.begin(epoch)
        torch.manual_seed(seed_of(self.seed, epoch, _DROPOUT))
        terms = self._train(epoch)
        module.eval()
        with torch.no_grad():
            numbers = dict(self.objective.validate())
        metric = numbers["metric"]
        if not math.isfinite(metric):
            raise _diverged("validation metric", metric, f"after epoch {epoch + 1}", self.plan)
        if metric < state.best:
            state.best, state.best_epoch = metric, epoch
            state.best_weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        row: LogRow = {"stage": self.stage, "epoch": epoch + 1}
        row |= {name: round(value, 6) for name, value in terms.items()}
        row |= {f"valid_{name}": round(value, 6) for name, value in numbers.items()}
        row["seconds"] = round(time.monotonic() - started, 3)
        state.rows.append(row)
        state.epoch += 1

    def _train(self, epoch: int) -> dict[str, float]:
        """All steps of one epoch; the mean of each loss term over its steps."""
        self.objective.module.train()
        size, batch = self.objective.size, self.plan.batch_size
        order = torch.randperm(size, generator=generator_of(self.seed, epoch, _ORDER))
        chunks = [order[start : start + batch] for start in range(0, size, batch)]
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks.pop()  # a lone sample has no other one to contrast with; another epoch's order includes it
        totals: dict[str, Tensor] = {}
        for index, rows in enumerate(chunks):
            self._set_rate(self.plan.rate(epoch * len(chunks) + index, self.plan.epochs * len(chunks)))
            terms = self.objective.step(rows)
            self._descend(terms["loss"], f"at epoch {epoch + 1}, step {index + 1} of {len(chunks)}")
            for name, value in terms.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
            self.advance(len(rows), f"epoch {epoch + 1}/{self.plan.epochs} loss {totals['loss'] / (index + 1):.4f}")
        return {name: total.item() / len(chunks) for name, total in totals.items()}

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _descend(self, loss: Tensor, where: str) -> None:
        if not math.isfinite(loss.item()):
            raise _diverged("loss", loss.item(), where, self.plan)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.objective.module.parameters(), self.plan.clip)
        self.optimizer.step()


def _diverged(what: str, value: float, where: str, plan: FitPlan) -> TrainingError:
    return TrainingError(
        f"{what} is {value} {where}: lower the learning rate (it is {plan.learning_rate:g}), "
        "or look for extreme values with 'edge-msa data inspect'"
    )


def _exhausted(state: Progress, plan: FitPlan) -> bool:
    return plan.patience is not None and state.epoch - 1 - state.best_epoch >= plan.patience and state.epoch > 0


@contextmanager
def _bar(stage: str, plan: FitPlan, done_epochs: int, size: int, shown: bool) -> Iterator[Callable[[int, str], None]]:
    """A progress bar over all samples of all epochs; what it yields takes samples done and a text."""
    if not shown:
        yield lambda _done, _text: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(stage, total=plan.epochs * size, completed=done_epochs * size)
        yield lambda done, text: bar.update(task, advance=done, description=f"{stage} {text}")
