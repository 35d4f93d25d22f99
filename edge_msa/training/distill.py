"""Distilling a teacher into the student that devices run.

The student sees the data under MSM and learns from the labels and from what the teacher reads out of the same
subset of modalities. A reading of the same subset, not of the complete sample, is the better target: it is close to
the best that can be known from that subset, and free of the label's noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import Dataset, Split
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.engine import Engine
from edge_msa.training.kept import kept
from edge_msa.training.loop import FitPlan, Objective, fit
from edge_msa.training.losses import SCORE_LOSSES, task_loss
from edge_msa.training.msm import MsmConfig, draw_missing
from edge_msa.training.predict import Readable, predict, to_numpy
from edge_msa.training.start import start_at_prior
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of


@dataclass(frozen=True)
class StudentRecipe:
    """How a student is made."""

    width: int = 32
    """Channels of every encoder."""
    blocks: int = 3
    """Causal convolutions a modality; the i-th is dilated by 2**i."""
    kernel: int = 3
    """Taps of each."""
    tokens: int = 4
    """Vectors that a modality's frames are pooled into."""
    hidden: int = 64
    """Width of the fusion."""
    dropout: float = 0.3
    """On tokens, while training."""
    epochs: int = 25
    """Passes over the training split."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 2e-3
    """Peak of AdamW's rate; it rises over the first tenth and falls along a cosine."""
    weight_decay: float = 1e-2
    """Decoupled."""
    patience: int | None = None
    """Stop after so many epochs without a better validation metric."""
    from_teacher: float = 0.5
    """Share of the loss that comes from the teacher's readings; the labels have the rest."""
    score_loss: str = "l1"
    """l1, smooth_l1 or mse; emotions always take cross-entropy."""
    msm: MsmConfig = field(default_factory=MsmConfig)
    """What goes missing in training."""

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "kernel", "tokens", "hidden", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"student.{name} is {getattr(self, name)}; it must be at least 1")
        _ = self.plan
        if self.score_loss not in SCORE_LOSSES:
            raise UsageError(f"student.score_loss is {self.score_loss!r}; it is one of: {', '.join(SCORE_LOSSES)}")
        if not 0 <= self.from_teacher <= 1:
            raise UsageError(f"student.from_teacher is {self.from_teacher}; it is a share between 0 and 1")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"student.dropout is {self.dropout}; it is a share, at least 0 and below 1")

    @property
    def plan(self) -> FitPlan:
        """The recipe's side of the training loop."""
        return FitPlan(
            self.epochs,
            self.batch_size,
            self.learning_rate,
            warmup=0.1,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )

    def config(self, dims: Mapping[str, int], task: Task) -> StudentConfig:
        """The network for data of those widths."""
        return StudentConfig(
            dict(dims), self.width, self.blocks, self.kernel, self.tokens, self.hidden, task.outputs, self.dropout
        )


@dataclass(frozen=True)
class TrainedStudent:
    """What `distill` gives: weights by name, rows of the log, validation metrics of the chosen epoch."""

    config: StudentConfig
    weights: dict[str, NDArray[np.float32]]
    log: list[dict[str, Any]]
    metrics: dict[str, Any]


def distill(
    dataset: Dataset,
    teacher: Readable,
    recipe: StudentRecipe,
    *,
    seed: int,
    engine: Engine,
    work_dir: Path,
    fingerprint: str = "",
    readings: Path | None = None,
) -> TrainedStudent:
    """Train a student on labels and on the teacher's readings.

    Args:
        dataset: normalised as the teacher's run says.
        teacher: in evaluation mode, on the engine's device.
        recipe: of the student.
        seed: of initialisation, order, dropout and masks.
        engine: on what to train.
        work_dir: where the checkpoint is kept.
        fingerprint: names what a checkpoint must share to be gone on from.
        readings: the file that keeps the teacher's readings for trainings on the same data; None keeps none.

    Raises:
        TrainingError: the loss diverged.
    """
    config = recipe.config(dataset.dims, dataset.task)
    torch.manual_seed(seed)
    student = Student(config)
    start_at_prior(student.fusion.read, dataset.split("train").labels, dataset.task)
    student.to(engine.device)
    objective = _Distillation(dataset, teacher, student, recipe, seed, engine, readings)
    fitted = fit(
        objective,
        recipe.plan,
        engine=engine,
        seed=seed,
        work_dir=work_dir,
        fingerprint=fingerprint,
        stage="student",
    )
    metrics = {"validation_metric": fitted.best, "best_epoch": fitted.best_epoch + 1}
    return TrainedStudent(config, to_numpy(student), [dict(row) for row in fitted.rows], metrics)


class _Distillation(Objective):
    """The objective: labels and the teacher's readings under MSM; validated on every subset."""

    def __init__(
        self,
        dataset: Dataset,
        teacher: Readable,
        student: Student,
        recipe: StudentRecipe,
        seed: int,
        engine: Engine,
        readings: Path | None,
    ) -> None:
        super().__init__()
        train, device = dataset.split("train"), engine.device
        self.student = student
        self._engine = engine
        self._task, self._recipe, self._seed = dataset.task, recipe, seed
        self._train = SplitTensors(train, dataset.dims, device)
        self.size = len(self._train)
        self._valid = dataset.split("valid")
        self._targets: Tensor | None = None
        if recipe.from_teacher:
            targets = kept(readings, lambda: _teacher_targets(teacher, train, dataset, device).cpu().numpy())
            self._targets = torch.from_numpy(targets).to(device)
        self._visible: dict[str, Tensor] = {}

    def begin(self, epoch: int) -> None:
        """Draw the epoch's masks."""
        self._visible = draw_missing(self._train.valid, self._recipe.msm, seed=self._seed, epoch=epoch)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Loss terms of those samples."""
        engine = self._engine
        seen = self._train.batch(engine.share(rows)).masked(self._visible)
        readings = engine.whole(self.student(seen.frames, seen.valid), len(rows))
        labels = task_loss(readings, self._train.labels[rows], self._task, self._recipe.score_loss)
        if self._targets is None:
            return {"loss": labels}
        targets = engine.whole(self._targets[_codes(seen.valid), seen.rows], len(rows))
        taught = task_loss(readings, targets, self._task, self._recipe.score_loss)
        share = self._recipe.from_teacher
        return {"loss": (1 - share) * labels + share * taught, "labels": labels, "teacher": taught}

    def validate(self) -> dict[str, float]:
        """The task loss of every subset, and their mean as the metric."""
        losses: dict[str, float] = {}
        labels = torch.from_numpy(self._valid.labels.reshape(len(self._valid), -1))
        for subset in subsets_of(self._valid.modalities):
            readings = torch.from_numpy(predict(self.student, self._valid, subset))
            losses[subset.value] = task_loss(readings, labels, self._task, self._recipe.score_loss).item()
        return losses | {"metric": sum(losses.values()) / len(losses)}


def _teacher_targets(teacher: Readable, train: Split, dataset: Dataset, device: torch.device) -> Tensor:
    """Readings of every training sample from every subset, (8, N, outputs); emotions as probabilities.

    Row 0, and a subset with a modality that the split lacks, are what the teacher reads of the rest.
    """
    targets = torch.zeros(8, len(train), dataset.task.outputs, device=device)
    for subset in Subset:
        readings = torch.from_numpy(predict(teacher, train, subset)).to(device)
        code = sum(1 << MODALITIES.index(name) for name in subset.modalities)
        targets[code] = readings if dataset.task.is_score else torch.sigmoid(readings)
    return targets


def _codes(valid: Mapping[str, Tensor]) -> Tensor:
    """Which subset each sample of a batch has, as bits in the order language, audio, vision; (B,)."""
    bits = [mask.any(dim=1).long() << MODALITIES.index(name) for name, mask in valid.items()]
    return torch.stack(bits).sum(dim=0)
