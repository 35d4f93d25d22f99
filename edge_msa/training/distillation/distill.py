"""Distilling teachers into the student that devices run.

The student sees the data under MSM and learns from the labels and from what the teachers read out of the same
subset of modalities. A prediction of the same subset, not of the complete sample, is the better target: it is close to
the best that can be known from that subset, and free of the label's noise. What the other terms are stands in
`StudentRecipe`, what they were baseline check in docs/students.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.config.student_recipe import StudentRecipe
from edge_msa.data.dataset import Dataset
from edge_msa.errors import DataError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.training.context import TrainingContext
from edge_msa.training.distillation.alignment import Alignment
from edge_msa.training.distillation.targets import Targets
from edge_msa.training.initialization import start_at_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import sample_losses, task_loss
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import predict, to_numpy
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import MODALITIES, subsets_of


@dataclass(frozen=True)
class TrainedStudent:
    """What `distill` gives: weights by name, rows of the log, validation metrics of the chosen epoch."""

    config: StudentConfig
    weights: dict[str, NDArray[np.float32]]
    log: list[dict[str, Any]]
    metrics: dict[str, Any]


def distill(
    dataset: Dataset,
    targets: Targets | None,
    recipe: StudentRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
    fingerprint: str = "",
    start: Student | None = None,
) -> TrainedStudent:
    """Train a student on labels and on what teachers say.

    Args:
        dataset: normalized as the student will have it; labels of training samples may be NaN.
        targets: what teachers say of the training samples, on the context's device (`targets_of`); None: only labels.
        recipe: of the student.
        seed: of initialization, order, dropout and masks.
        context: on what to train.
        work_dir: where the checkpoint is kept.
        fingerprint: names what a checkpoint must share to be gone on from.
        start: a trained student that computes as in int8 (`edge_msa.training.distillation.qat`), trained on by the recipe's
            `qat_plan`; None: a new one.

    Raises:
        DataError: validation has samples without labels.
        TrainingError: the loss diverged.
    """
    if not np.isfinite(dataset.split("valid").labels).all():
        raise DataError(f"valid of {dataset.name} has samples without labels: by them the best epoch is chosen")
    torch.manual_seed(seed)
    student = _new(dataset, recipe) if start is None else start
    student.to(context.device)
    objective = _Distillation(dataset, targets, student, recipe, seed, context)
    fitted = fit(
        objective,
        recipe.plan if start is None else recipe.qat_plan,
        context=context,
        seed=seed,
        work_dir=work_dir,
        fingerprint=fingerprint,
        stage="student" if start is None else "qat",
    )
    metrics = {"validation_metric": fitted.best, "best_epoch": fitted.best_epoch + 1}
    return TrainedStudent(student.config, to_numpy(student), [dict(row) for row in fitted.rows], metrics)


def _new(dataset: Dataset, recipe: StudentRecipe) -> Student:
    student = Student(recipe.config(dataset.dims, dataset.task))
    labels = dataset.split("train").labels
    labels = labels[np.isfinite(labels.reshape(len(labels), -1)).all(axis=1)]
    if len(labels):
        start_at_prior(student.fusion.read, labels, dataset.task)
    return student


class _Distillation(Objective):
    """The objective: labels and the teachers' word under MSM; validated on every subset."""

    def __init__(
        self,
        dataset: Dataset,
        targets: Targets | None,
        student: Student,
        recipe: StudentRecipe,
        seed: int,
        context: TrainingContext,
    ) -> None:
        super().__init__()
        train, device = dataset.split("train"), context.device
        self.student = student
        self._context = context
        self._task, self._recipe, self._seed = dataset.task, recipe, seed
        self._train = SplitTensors(train, dataset.dims, device)
        self.size = len(self._train)
        self._valid = dataset.split("valid")
        self._targets = targets
        self.alignment = None
        if targets is not None and targets.vectors is not None:
            self.alignment = Alignment(student.config.hidden, targets.vectors.shape[2], recipe.weights).to(device)
        labels = self._train.labels
        self._labelled = torch.isfinite(labels).all(dim=1)
        self._labels = torch.where(self._labelled[:, None], labels, 0.0)
        self._visible: dict[str, Tensor] = {}

    def begin(self, epoch: int) -> None:
        """Draw the epoch's masks."""
        self._visible = draw_missing(self._train.valid, self._recipe.missing(epoch), seed=self._seed, epoch=epoch)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Loss terms of those samples."""
        context, count = self._context, len(rows)
        seen = self._train.batch(context.share(rows)).masked(self._visible)
        vectors = context.whole(self.student.fusion.represent(*self.student.encode(seen.frames, seen.valid)), count)
        predictions = self.student.fusion.read(vectors)
        losses = partial(sample_losses, predictions, task=self._task, score_loss=self._recipe.score_loss)
        labeled = self._labelled[rows].to(predictions.dtype)
        terms = {"labels": _mean(losses(self._labels[rows]), labeled)}
        if self._targets is None:
            return {"loss": terms["labels"]}
        codes = _codes(seen.valid)
        known = context.whole(self._targets.known[codes].to(predictions.dtype), count)
        taught = losses(context.whole(self._targets.predictions[codes, seen.rows], count))
        terms["teacher"] = _mean(taught, known)
        # Who has a label alone, or a teacher alone, learns from that alone.
        share = self._recipe.from_teacher
        from_label = labeled * (1 - share * known)
        from_teacher = known * (1 - (1 - share) * labeled)
        loss = (from_label * losses(self._labels[rows]) + from_teacher * taught).mean()
        return {"loss": loss + self._aligned(vectors, codes, seen.rows, count, terms), **terms}

    def _aligned(self, vectors: Tensor, codes: Tensor, rows: Tensor, count: int, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the terms on representations, each noted in `terms`."""
        total = vectors.new_zeros(())
        targets = self._targets
        if self.alignment is None or targets is None or targets.vectors is None or targets.vectors_known is None:
            return total
        theirs = self._context.whole(targets.vectors[codes, rows], count)
        known = self._context.whole(targets.vectors_known[codes].to(vectors.dtype), count) > 0
        if int(known.sum()) < 2:
            return total
        for name, value in self.alignment(vectors[known], theirs[known]).items():
            terms[name] = value
            total = total + self._recipe.weights[name] * value
        return total

    def validate(self) -> dict[str, float]:
        """The task loss of every subset, and their mean as the metric."""
        losses: dict[str, float] = {}
        labels = torch.from_numpy(self._valid.labels.reshape(len(self._valid), -1))
        for subset in subsets_of(self._valid.modalities):
            predictions = torch.from_numpy(predict(self.student, self._valid, subset))
            losses[subset.value] = task_loss(predictions, labels, self._task, self._recipe.score_loss).item()
        return losses | {"metric": sum(losses.values()) / len(losses)}


def _codes(valid: Mapping[str, Tensor]) -> Tensor:
    """Which subset each sample of a batch has, as bits in the order language, audio, vision; (B,)."""
    bits = [mask.any(dim=1).long() << MODALITIES.index(name) for name, mask in valid.items()]
    return torch.stack(bits).sum(dim=0)


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
