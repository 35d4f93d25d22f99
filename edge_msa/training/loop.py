"""The epoch loop of every training.

An `Objective` defines what is trained. The loop handles the order of samples, the optimizer, the learning rate, the
best epoch, the log, the checkpoint and the progress: one line and one event per epoch, and a bar on the status line.
The `TrainingContext` defines the hardware. Order and dropout depend on (seed, epoch) only, so an interrupted and
resumed training gives the same weights as an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_msa.config.training import TrainingSchedule
from edge_msa.console import activity, print_progress, report_progress, show_status
from edge_msa.errors import TrainingError
from edge_msa.training import checkpoint
from edge_msa.training.adversary import Adversary
from edge_msa.training.checkpoint import LogRow, TrainingState
from edge_msa.training.context import TrainingContext
from edge_msa.training.randomness import generator_of, seed_of
from edge_msa.training.weight_average import WeightAverage

_ORDER, _DROPOUT = 1, 2
_POOL = 50
"""Number of steps whose samples are sorted by length together. Used only if the objective has lengths."""
_CHECK_INTERVAL = 20
"""Number of steps between two checks of the running loss."""


class Objective(nn.Module, ABC):
    """What `fit` trains: its parameters are optimized, and calling it returns the losses."""

    size: int
    """Number of training samples."""
    lengths: Tensor | None = None
    """Length of each training sample, (size,). If set, batches contain samples of similar length."""
    adversary: Adversary | None = None
    """Discriminators that take a step after each optimizer step, at the same learning rate."""

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate, by prefix of parameter names (default: 1)."""
        return {}

    def begin(self, epoch: int) -> None:
        """Prepare an epoch, counted from 0, for example draw its masks."""

    @abstractmethod
    def forward(self, rows: Tensor) -> Mapping[str, Tensor]:
        """Return scalar loss terms of the samples `rows`; `loss` is minimized, the others are logged.

        With several processes each one receives the whole batch. It encodes its `TrainingContext.share` and collects
        the results of all processes with `TrainingContext.merge_shares`, so that every process has the same terms.
        """

    @abstractmethod
    def validate(self) -> Mapping[str, float]:
        """Return validation metrics; the lowest `metric` decides the best epoch.

        It is called in evaluation mode, without gradients.
        """


@dataclass(frozen=True)
class FitResult:
    """The result of `fit`. The objective has the weights of the best epoch."""

    rows: list[LogRow]
    """One log row per epoch."""
    best: float
    """The validation metric of the best epoch."""
    best_epoch: int
    """Index of the best epoch, counted from 0."""


def fit(
    objective: Objective,
    schedule: TrainingSchedule,
    *,
    context: TrainingContext,
    seed: int,
    work_dir: Path,
    fingerprint: str = "",
    stage: str = "train",
) -> FitResult:
    """Train an objective, or resume an earlier call with the same fingerprint.

    Args:
        objective: What to train, already on the context's device.
        schedule: Epochs, batch size, learning rate and the other optimizer settings.
        context: The hardware to train on.
        seed: Seed of the order of samples and of dropout.
        work_dir: Folder of the checkpoint, created if needed. Only the first process uses it.
        fingerprint: Identifies the data, recipe and code; a checkpoint with another fingerprint is ignored.
        stage: Name of this training in log rows, loggers and the progress bar.

    Raises:
        TrainingError: The loss or the validation metric is not finite.
        RunError: The checkpoint cannot be read or written.
    """
    optimizer = torch.optim.AdamW(
        _parameter_groups(objective), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    optimizer_settings = schedule.schedule(schedule.epochs, schedule.learning_rate)
    fingerprint = f"{stage} seed={seed} precision={context.precision} {optimizer_settings!r} {fingerprint}"
    state = context.broadcast(checkpoint.load(work_dir, fingerprint) if context.is_first else None)
    module, optimizer = context.prepare(objective, optimizer)
    adversary = objective.adversary
    if state is None:
        state = TrainingState(objective.state_dict(), optimizer.state_dict())
    else:
        objective.load_state_dict(state.weights)
        optimizer.load_state_dict(state.optimizer)
        if adversary is not None and state.adversary is not None:
            adversary.load_state_dict(state.adversary)
    average = WeightAverage(objective, schedule.ema) if schedule.ema else None
    if average is not None and state.average is not None:
        average.load_state_dict(state.average)
    with torch.random.fork_rng(), activity(f"{stage}: first steps"):
        loop = _Loop(objective, module, schedule, context, optimizer, seed, stage, average)
        loggers = context.loggers(stage)
        while state.epoch < schedule.epochs and not _out_of_patience(state, schedule):
            loop.run_epoch(state)
            state.weights, state.optimizer = objective.state_dict(), optimizer.state_dict()
            state.adversary = adversary.state_dict() if adversary is not None else None
            state.average = average.state_dict() if average is not None else None
            if context.is_first:
                checkpoint.save(state, fingerprint, work_dir)
            line = _format_epoch(state, schedule)
            print_progress(line)
            report_progress(f"{stage}: epoch", state.epoch, schedule.epochs, line)
            show_status(f"{stage}: epoch {state.epoch}/{schedule.epochs} done", state.epoch / schedule.epochs)
            for logger in loggers:
                logger.log_metrics({k: v for k, v in state.rows[-1].items() if isinstance(v, float)}, state.epoch)
        for logger in loggers:
            logger.finalize("success")
    objective.load_state_dict(state.best_weights)
    objective.eval()
    return FitResult(state.rows, state.best, state.best_epoch)


@dataclass(frozen=True)
class _Loop:
    """The training of epochs, with everything that does not change between them."""

    objective: Objective
    module: nn.Module
    """The objective as prepared by the context."""
    schedule: TrainingSchedule
    context: TrainingContext
    optimizer: Any
    seed: int
    stage: str
    average: WeightAverage | None = None

    def run_epoch(self, state: TrainingState) -> None:
        """Train one epoch, validate, and update the state."""
        started, epoch = time.monotonic(), state.epoch
        self.objective.begin(epoch)
        torch.manual_seed(seed_of(self.seed, epoch, _DROPOUT, *self._process_key()))
        terms = self._train(state)
        self.objective.eval()
        with torch.no_grad(), nullcontext() if self.average is None else self.average.applied():
            # One process decides, because on different machines the last bits of a metric may differ.
            metrics = self.context.broadcast(dict(self.objective.validate()))
            metric = metrics["metric"]
            if not math.isfinite(metric):
                raise _diverged("validation metric", metric, f"after epoch {epoch + 1}", self.schedule)
            if metric < state.best:
                state.best, state.best_epoch = metric, epoch
                weights = self.objective.state_dict()
                state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        row: LogRow = {"stage": self.stage, "epoch": epoch + 1}
        row |= {name: round(value, 6) for name, value in terms.items()}
        row |= {f"valid_{name}": round(value, 6) for name, value in metrics.items()}
        row["seconds"] = round(time.monotonic() - started, 3)
        state.rows.append(row)
        state.epoch += 1

    def _process_key(self) -> tuple[int, ...]:
        """Return the part of the dropout seed that differs between processes."""
        return () if self.context.is_first else (self.context.fabric.global_rank,)

    def _train(self, state: TrainingState) -> dict[str, float]:
        """Run all steps of one epoch and return the mean of each loss term over the steps."""
        self.objective.train()
        epoch, epochs = state.epoch, self.schedule.epochs
        batches = self._batches(epoch)
        best = f", best {state.best:.4f}" if state.rows else ""
        totals: dict[str, Tensor] = {}
        for index, rows in enumerate(batches):
            step = epoch * len(batches) + index
            self._set_rate(learning_rate_at(step, epochs * len(batches), self.schedule))
            terms = train_step(self.objective, self.module, rows, self.optimizer, self.context, self.schedule.clip)
            if self.average is not None:
                self.average.update(step)
            for name, value in terms.items():
                totals[name] = totals[name] + value.detach() if name in totals else value.detach()
            is_last = index == len(batches) - 1
            if index % _CHECK_INTERVAL == _CHECK_INTERVAL - 1 or is_last:  # `item` waits for a GPU
                mean = totals["loss"].item() / (index + 1)
                if not math.isfinite(mean):
                    where = f"at epoch {epoch + 1}, step {index + 1} of {len(batches)}"
                    raise _diverged("loss", mean, where, self.schedule)
                done = (epoch + (index + 1) / len(batches)) / epochs
                show_status(f"{self.stage}: epoch {epoch + 1}/{epochs}, loss {mean:.4f}{best}", done)
        return {name: total.item() / len(batches) for name, total in totals.items()}

    def _batches(self, epoch: int) -> list[Tensor]:
        """Return the samples of each step of an epoch."""
        size, batch_size = self.objective.size, self.schedule.batch_size
        generator = generator_of(self.seed, epoch, _ORDER)
        order = torch.randperm(size, generator=generator)
        if self.objective.lengths is not None:
            order = _sort_within_pools(order, self.objective.lengths, batch_size * _POOL)
        batches = [order[start : start + batch_size] for start in range(0, size, batch_size)]
        if len(batches) > 1 and len(batches[-1]) == 1:
            batches.pop()  # contrastive losses need two samples; another epoch includes the sample that this one omits
        if self.objective.lengths is not None:
            batches = [batches[index] for index in torch.randperm(len(batches), generator=generator)]
        return batches

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]


def learning_rate_at(step: int, steps: int, schedule: TrainingSchedule) -> float:
    """Return the learning rate of a step, counted from 0, out of `steps`."""
    warmup = schedule.warmup * steps
    if step < warmup:
        return schedule.learning_rate * (step + 1) / (warmup + 1)
    if not schedule.cosine:
        return schedule.learning_rate
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup)))


def train_step(
    objective: Objective, module: nn.Module, rows: Tensor, optimizer: Any, context: TrainingContext, clip: float
) -> dict[str, Tensor]:
    """Take one step on the samples `rows`, and then one step of the objective's adversary, if it has one.

    Args:
        objective: What to train.
        module: The objective as prepared by the context.
        rows: The samples.
        optimizer: The optimizer as prepared by the context.
        context: The hardware.
        clip: Maximum norm of the gradient; 0 for no limit.

    Returns:
        The loss terms before the step. The loss of the adversary is `discriminator`.
    """
    terms = dict(module(rows))
    optimizer.zero_grad(set_to_none=True)
    context.fabric.backward(terms["loss"])
    if clip:
        nn.utils.clip_grad_norm_(objective.parameters(), clip)
    optimizer.step()
    if objective.adversary is not None:
        loss = objective.adversary.step(optimizer.param_groups[0]["lr"])
        if loss is not None:
            terms["discriminator"] = loss
    return terms


def _parameter_groups(objective: Objective) -> list[dict[str, Any]]:
    """Return the trainable parameters, grouped by the factor on their learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            factor = next((value for prefix, value in objective.rate_factors.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]


def _sort_within_pools(order: Tensor, lengths: Tensor, pool: int) -> Tensor:
    """Sort samples by length within each pool: the samples of a step have similar lengths, but pools are random."""
    pools = [order[start : start + pool] for start in range(0, len(order), pool)]
    return torch.cat([rows[torch.argsort(lengths[rows], stable=True)] for rows in pools])


def _diverged(what: str, value: float, where: str, schedule: TrainingSchedule) -> TrainingError:
    return TrainingError(
        f"The {what} is {value} {where}. Lower the learning rate (now {schedule.learning_rate:g}), "
        "or look for extreme values with 'edge-msa data inspect'."
    )


def _out_of_patience(state: TrainingState, schedule: TrainingSchedule) -> bool:
    patience = schedule.patience
    return patience is not None and state.epoch - 1 - state.best_epoch >= patience and state.epoch > 0


def _format_epoch(state: TrainingState, schedule: TrainingSchedule) -> str:
    """Return one line about the last epoch."""
    row = state.rows[-1]
    return (
        f"{row['stage']} epoch {state.epoch}/{schedule.epochs}: loss {row['loss']:.4f}, validation "
        f"{row['valid_metric']:.4f} (best {state.best:.4f}, epoch {state.best_epoch + 1}), {row['seconds']:.1f} s"
    )
