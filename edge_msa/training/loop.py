"""The epoch loop that every training of the project uses.

What is trained enters as an `Objective`; the loop owns order, optimizer, learning rate, the best epoch, the log, the
checkpoint and the progress bar; the `TrainingContext` knows on what it runs. Order and dropout are keyed by (seed, epoch), so a
training that was interrupted ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor, nn

from edge_msa.errors import TrainingError, UsageError
from edge_msa.training import checkpoint
from edge_msa.training.checkpoint import LogRow, Progress
from edge_msa.training.context import TrainingContext
from edge_msa.training.randomness import generator_of, seed_of

_ORDER, _DROPOUT = 1, 2
_POOL = 50
"""Steps whose samples are sorted together where their lengths differ."""
_WATCH = 20
"""Steps between two attention maps at the running loss."""


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


class Objective(nn.Module, ABC):
    """What `fit` trains: its parameters are all that learns, and calling it gives the losses."""

    size: int
    """Training samples."""
    lengths: Tensor | None = None
    """Cost of each training sample, (size,), where samples of like cost should share a step."""

    @property
    def rates(self) -> Mapping[str, float]:
        """What multiplies the learning rate of parameters whose names begin so; 1 for all others."""
        return {}

    def begin(self, epoch: int) -> None:
        """Prepare an epoch (from 0), for instance draw its masks."""

    @abstractmethod
    def forward(self, rows: Tensor) -> Mapping[str, Tensor]:
        """Scalar loss terms of those samples; `loss` is the one that is minimized, the others are logged.

        Among several processes each is given the whole batch: it encodes `TrainingContext.share` of it and gathers the rest by
        `TrainingContext.whole`, so that every process has the same terms.
        """

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """Validation numbers; `metric` decides the best epoch, lower is better. Called in evaluation mode, no grad."""


@dataclass(frozen=True)
class Fitted:
    """Result of `fit`: the objective has the best epoch's weights; `best_epoch` counts from 0."""

    rows: list[LogRow]
    best: float
    best_epoch: int


def fit(
    objective: Objective,
    plan: FitPlan,
    *,
    context: TrainingContext,
    seed: int,
    work_dir: Path,
    fingerprint: str = "",
    stage: str = "train",
) -> Fitted:
    """Train, or go on where an earlier call with the same fingerprint stopped.

    Args:
        objective: what to train; on the context's device already.
        plan: epochs, batch size, learning rate and the rest.
        context: on what it runs.
        seed: of order and dropout.
        work_dir: folder of the checkpoint, made if needed; read and written by the first process alone.
        fingerprint: names data, recipe and code that a checkpoint must share to be gone on from.
        stage: what rows, logs and the progress bar call this training.

    Raises:
        TrainingError: the loss or the validation metric is not finite.
        RunError: the checkpoint cannot be read or written.
    """
    optimizer = torch.optim.AdamW(_groups(objective), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
    fingerprint = f"{stage} seed={seed} precision={context.precision} {plan} {fingerprint}"
    state = context.agree(checkpoint.load(work_dir, fingerprint) if context.is_first else None)
    module, optimizer = context.prepare(objective, optimizer)
    if state is None:
        state = Progress(objective.state_dict(), optimizer.state_dict())
    else:
        objective.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
    with torch.random.fork_rng(), _bar(stage, plan, state.epoch, objective.size, context) as advance:
        run = _Run(objective, module, plan, context, optimizer, seed, stage, advance)
        loggers = context.loggers(stage)
        while state.epoch < plan.epochs and not _exhausted(state, plan):
            run.epoch(state)
            state.weights, state.optimizer = objective.state_dict(), optimizer.state_dict()
            if context.is_first:
                checkpoint.save(state, fingerprint, work_dir)
            for logger in loggers:
                logger.log_metrics({k: v for k, v in state.rows[-1].items() if isinstance(v, float)}, state.epoch)
        for logger in loggers:
            logger.finalize("success")
    objective.load_state_dict(state.best_weights)
    objective.eval()
    return Fitted(state.rows, state.best, state.best_epoch)


@dataclass(frozen=True)
class _Run:
    """What stays the same from epoch to epoch. `module` is the objective as the context wants it called."""

    objective: Objective
    module: nn.Module
    plan: FitPlan
    context: TrainingContext
    optimizer: Any
    seed: int
    stage: str
    advance: Callable[[int, str], None]

    def epoch(self, state: Progress) -> None:
        """One epoch: train, validate, log, remember the best."""
        started, epoch = time.monotonic(), state.epoch
        self.objective.begin(epoch)
        torch.manual_seed(seed_of(self.seed, epoch, _DROPOUT, *self._process()))
        terms = self._train(state)
        self.objective.eval()
        with torch.no_grad():
            # One process decides: on unlike machines the last bits of a metric may differ.
            numbers = self.context.agree(dict(self.objective.validate()))
        metric = numbers["metric"]
        if not math.isfinite(metric):
            raise _diverged("validation metric", metric, f"after epoch {epoch + 1}", self.plan)
        if metric < state.best:
            state.best, state.best_epoch = metric, epoch
            state.best_weights = {name: value.detach().clone() for name, value in self.objective.state_dict().items()}
        row: LogRow = {"stage": self.stage, "epoch": epoch + 1}
        row |= {name: round(value, 6) for name, value in terms.items()}
        row |= {f"valid_{name}": round(value, 6) for name, value in numbers.items()}
        row["seconds"] = round(time.monotonic() - started, 3)
        state.rows.append(row)
        state.epoch += 1

    def _process(self) -> tuple[int, ...]:
        """What sets this process's dropout apart from the first one's."""
        return () if self.context.is_first else (self.context.fabric.global_rank,)

    def _train(self, state: Progress) -> dict[str, float]:
        """All steps of one epoch; the mean of each loss term over its steps."""
        self.objective.train()
        epoch, epochs = state.epoch, self.plan.epochs
        chunks = self._batches(epoch)
        best = f" best {state.best:.4f}" if state.rows else ""
        totals: dict[str, Tensor] = {}
        unseen = 0
        for index, rows in enumerate(chunks):
            self._set_rate(self.plan.rate(epoch * len(chunks) + index, epochs * len(chunks)))
            terms = self.module(rows)
            descend(terms["loss"], self.objective, self.optimizer, self.context, self.plan.clip)
            for name, value in terms.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
            unseen += len(rows)
            if index % _WATCH == _WATCH - 1 or index == len(chunks) - 1:  # a GPU is waited for when it is looked at
                mean = totals["loss"].item() / (index + 1)
                if not math.isfinite(mean):
                    raise _diverged("loss", mean, f"at epoch {epoch + 1}, step {index + 1} of {len(chunks)}", self.plan)
                self.advance(unseen, f"epoch {epoch + 1}/{epochs} loss {mean:.4f}{best}")
                unseen = 0
        return {name: total.item() / len(chunks) for name, total in totals.items()}

    def _batches(self, epoch: int) -> list[Tensor]:
        """The samples of each step of that epoch."""
        size, batch = self.objective.size, self.plan.batch_size
        generator = generator_of(self.seed, epoch, _ORDER)
        order = torch.randperm(size, generator=generator)
        if self.objective.lengths is not None:
            order = _alike(order, self.objective.lengths, batch * _POOL)
        chunks = [order[start : start + batch] for start in range(0, size, batch)]
        if len(chunks) > 1 and len(chunks[-1]) == 1:
            chunks.pop()  # a lone sample has no other one to contrast with; another epoch's order includes it
        if self.objective.lengths is not None:
            chunks = [chunks[index] for index in torch.randperm(len(chunks), generator=generator)]
        return chunks

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]


def _groups(objective: Objective) -> list[dict[str, Any]]:
    """The parameters that learn, by what multiplies their learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            factor = next((value for prefix, value in objective.rates.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]


def _alike(order: Tensor, lengths: Tensor, pool: int) -> Tensor:
    """The same samples, sorted by length within pools: steps become alike inside, and stay random from pool to pool."""
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    return torch.cat([rows[torch.argsort(lengths[rows], stable=True)] for rows in pools])


def descend(loss: Tensor, objective: Objective, optimizer: Any, context: TrainingContext, clip: float) -> None:
    """One step of the optimizer, down the gradient of `loss`, whose norm is limited to `clip`."""
    optimizer.zero_grad(set_to_none=True)
    context.fabric.backward(loss)
    nn.utils.clip_grad_norm_(objective.parameters(), clip)
    optimizer.step()


def _diverged(what: str, value: float, where: str, plan: FitPlan) -> TrainingError:
    return TrainingError(
        f"{what} is {value} {where}: lower the learning rate (it is {plan.learning_rate:g}), "
        "or look for extreme values with 'edge-msa data inspect'"
    )


def _exhausted(state: Progress, plan: FitPlan) -> bool:
    return plan.patience is not None and state.epoch - 1 - state.best_epoch >= plan.patience and state.epoch > 0


@contextmanager
def _bar(
    stage: str, plan: FitPlan, done_epochs: int, size: int, context: TrainingContext
) -> Iterator[Callable[[int, str], None]]:
    """A progress bar over all samples of all epochs; what it yields takes samples done and a text."""
    if not (context.progress and context.is_first):
        yield lambda _done, _text: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(stage, total=plan.epochs * size, completed=done_epochs * size)
        yield lambda done, text: bar.update(task, advance=done, description=f"{stage} {text}")
