"""Distilling a teacher into the student that devices run.

The student sees the data under MSM and learns from the labels and from what the teacher reads out of the same
subset of modalities. A reading of the same subset, not of the complete sample, is the better target: it is close to
the best that can be known from that subset, and free of the label's noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import Dataset, Split
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.engine import Engine
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import task_loss
from edge_msa.training.msm import draw_missing
from edge_msa.training.predict import Readable, predict, to_numpy
from edge_msa.training.start import start_at_prior
from edge_msa.training.student_recipe import StudentRecipe
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of


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

    Raises:
        TrainingError: the loss diverged.
    """
    config = recipe.config(dataset.dims, dataset.task)
    torch.manual_seed(seed)
    student = Student(config)
    start_at_prior(student.fusion.read, dataset.split("train").labels, dataset.task)
    student.to(engine.device)
    objective = _Distillation(dataset, teacher, student, recipe, seed, engine)
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
    ) -> None:
        super().__init__()
        train, device = dataset.split("train"), engine.device
        self.student = student
        self._engine = engine
        self._task, self._recipe, self._seed = dataset.task, recipe, seed
        self._train = SplitTensors(train, dataset.dims, device)
        self.size = len(self._train)
        self._valid = dataset.split("valid")
        self._targets = _teacher_targets(teacher, train, dataset, device) if recipe.from_teacher else None
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
