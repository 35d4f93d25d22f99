"""HRLF's two stages: the teacher on complete samples, then the robust network of the same structure under MSM.

What the paper leaves open, and what is done here (the network's own choices stand in `edge_msa.models.hrlf`):

- *Loss weights*: recipe fields, chosen on the validation split of the embedded data. With weights of 0.1 each, FRF is
  learned before the task is and the network stays a constant.
- *Start of stage 2*: the teacher's weights. From new ones, in the same number of epochs, the terms beside the task win
  and the network stays a constant (measured at weights of 0.02 for FRF and 0.1 for HMI and HAL).
- *FRF on missing streams*: a stream without a frame has a constant Z, which says nothing to reconstruct, so the terms
  average over the streams, and pairs of streams, that a sample has. With complete samples that is the paper's L_FRF.
- *Targets* of the three reconstruction terms carry no gradient: moving Z or Q towards its own reconstruction shrinks
  both until nothing is left to say.
- *HMI*: one statistics network a scale, an MLP with one hidden layer on both features side by side; marginal pairs come
  from rolling the batch by one sample.
- *HAL*: one discriminator a scale. Gradient reversal instead of alternating steps: the student gets exactly the
  gradient of the paper's log(1 - D) while one optimizer step serves both sides.
- *L_KL*: see `answer_divergence`.
- *Which teacher*: its best epoch on validation, frozen, in evaluation mode, seeing the complete sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa.config.recipes import HrlfRecipe
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.tasks import Task
from edge_msa.models.hrlf import Hrlf, HrlfConfig, HrlfFeatures
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import start_at_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import (
    adversarial_loss,
    answer_divergence,
    distance,
    jensen_shannon_information,
    reverse_gradient,
    scorer,
    task_loss,
)
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import COMPLETE_PREFIX, to_numpy
from edge_msa.training.randomness import seed_of
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_runtime.modalities import Subset, subsets_of

_INITIAL = 3
_SPLITS: tuple[SplitName, SplitName] = ("train", "valid")
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainedTeacher:
    """Result of `train_hrlf`.

    `weights`: the robust network's by their torch names, and the complete teacher's behind `COMPLETE_PREFIX`.
    `config`: what rebuilds either. `log`: one row an epoch of both stages. `metrics`: validation numbers of the best
    epochs.
    """

    weights: dict[str, NDArray[np.float32]]
    config: HrlfConfig
    log: list[LogRow]
    metrics: dict[str, float]


@dataclass(frozen=True)
class StageData:
    """What both stages train and validate on."""

    train: SplitTensors
    valid: SplitTensors
    task: Task

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> StageData:
        """Both splits on the device."""
        train, valid = (SplitTensors(dataset.split(name), dataset.dims, device) for name in _SPLITS)
        return cls(train, valid, dataset.task)


class Alignment(nn.Module):
    """The networks that only stage 2's losses need: a statistics network and a discriminator a scale."""

    def __init__(self, config: HrlfConfig) -> None:
        super().__init__()
        d = config.d
        widths = (2 * len(config.dims) * d, 4 * d, d)
        self.statistics = nn.ModuleList(scorer(2 * width, 2 * d) for width in widths)
        self.discriminators = nn.ModuleList(scorer(width, 2 * d) for width in widths)

    def information(self, teacher: HrlfFeatures, student: HrlfFeatures) -> Tensor:
        """L_HMI: minus the mutual information of the two networks' features, summed over scales."""
        total = student.outputs.new_zeros(())
        for network, theirs, own in zip(self.statistics, teacher.scales, student.scales, strict=True):
            joint = network(torch.cat([theirs, own], dim=1))
            marginal = network(torch.cat([theirs.roll(1, dims=0), own], dim=1))
            total = total - jensen_shannon_information(joint, marginal)
        return total

    def adversary(self, teacher: HrlfFeatures, student: HrlfFeatures) -> Tensor:
        """L_HAL, summed over scales: the discriminators minimize it, the student maximizes it."""
        total = student.outputs.new_zeros(())
        for network, theirs, own in zip(self.discriminators, teacher.scales, student.scales, strict=True):
            total = total + adversarial_loss(network(reverse_gradient(own)), network(theirs))
        return total


def factorization_loss(network: Hrlf, features: HrlfFeatures) -> Tensor:
    """L_FRF = L_self + L_cross + L_recon over the streams that each sample has."""
    decoded = network.exchange(features)
    here = features.available.to(decoded.dtype)
    pairs = here[:, :, None] * here[:, None, :]
    own = torch.eye(here.shape[1], device=here.device)
    rebuilt = distance(decoded, features.encoded.detach()[:, None])
    total = _mean(rebuilt, pairs * own) + _mean(rebuilt, pairs * (1 - own))
    # decoded[:, b, a] = D_r(Q_b, U_a) must have stream a's sentiment, by stream a's own E_S.
    return total + _mean(distance(network.sentiment(decoded), features.relevant.detach()[:, None]), pairs)


class CompleteStage(Objective):
    """Stage 1's objective: the task and FRF, on complete samples."""

    def __init__(self, network: Hrlf, data: StageData, recipe: HrlfRecipe, context: TrainingContext) -> None:
        super().__init__()
        self.network = network
        self.size = len(data.train)
        self._data, self._recipe, self._context = data, recipe, context

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Loss terms of those samples."""
        features = features_of(
            self.network, self._data.train.batch(self._context.share(rows)), len(rows), self._context
        )
        labels = self._data.train.labels[rows]
        terms = {"task": task_loss(features.outputs, labels, self._data.task, self._recipe.score_loss)}
        weights = {"frf": self._recipe.frf}
        if self._recipe.frf:
            terms["frf"] = factorization_loss(self.network, features)
        return _weighted(terms, weights)

    def validate(self) -> dict[str, float]:
        """The error with all modalities there are."""
        subset = Subset.of(self.network.config.dims)
        return {"metric": subset_errors(self.network, self._data.valid, self._data.task, (subset,))[subset]}


class RobustStage(Objective):
    """Stage 2's objective: all terms, under MSM, beside what the frozen teacher makes of the complete samples."""

    def __init__(
        self, networks: tuple[Hrlf, Hrlf], data: StageData, recipe: HrlfRecipe, seed: int, context: TrainingContext
    ) -> None:
        super().__init__()
        self.network, teacher = networks
        self.alignment = Alignment(self.network.config).to(data.train.device)
        self.size = len(data.train)
        self._data, self._recipe, self._seed, self._context = data, recipe, seed, context
        # The teacher does not learn and sees the same samples in every epoch: it is asked once.
        self._encoded = _encoded(teacher.eval(), data.train)
        self._teacher = (teacher,)  # in a tuple, so that it is no part of what learns
        self._visible: dict[str, Tensor] = {}

    def begin(self, epoch: int) -> None:
        """Draw the epoch's masks."""
        drawn = draw_missing(self._data.train.valid, self._recipe.msm, seed=self._seed, epoch=epoch)
        self._visible = {name: mask.to(self._data.train.device) for name, mask in drawn.items()}

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Loss terms of those samples."""
        recipe, task, train = self._recipe, self._data.task, self._data.train
        seen = train.batch(self._context.share(rows)).masked(self._visible)
        student = features_of(self.network, seen, len(rows), self._context)
        terms = {"task": task_loss(student.outputs, train.labels[rows], task, recipe.score_loss)}
        weights = {name: getattr(recipe, name) for name in ("frf", "hmi", "hal", "kl")}
        if recipe.frf:
            terms["frf"] = factorization_loss(self.network, student)
        if recipe.hmi or recipe.hal or recipe.kl:
            with torch.no_grad():
                teacher = self._teacher[0].fuse(self._encoded[rows], torch.ones_like(student.available))
            if recipe.hmi:
                terms["hmi"] = self.alignment.information(teacher, student)
            if recipe.hal:
                terms["hal"] = self.alignment.adversary(teacher, student)
            if recipe.kl:
                terms["kl"] = answer_divergence(student.outputs, teacher.outputs, task)
        return _weighted(terms, weights)

    def validate(self) -> dict[str, float]:
        """The error of every subset, and their mean, which decides."""
        errors = subset_errors(self.network, self._data.valid, self._data.task, subsets_of(self.network.config.dims))
        return {"metric": float(np.mean(list(errors.values())))} | {s.value: error for s, error in errors.items()}


def features_of(network: Hrlf, share: Batch, count: int, context: TrainingContext) -> HrlfFeatures:
    """Features of a whole batch of `count` samples, of which this process encodes its share."""
    encoded, available = network.encode(share.frames, share.valid)
    there = context.whole(available.to(encoded.dtype), count) > 0
    return network.fuse(context.whole(encoded, count), there)


def subset_errors(network: Hrlf, split: SplitTensors, task: Task, subsets: tuple[Subset, ...]) -> dict[Subset, float]:
    """MAE (scores) or binary cross-entropy (emotions) of each subset over a split.

    A stream's Z does not depend on the others, so each is encoded once and every subset is fused from them.
    """
    totals = dict.fromkeys(subsets, 0.0)
    names = tuple(network.config.dims)
    with torch.no_grad():
        for batch in split.batches(_EVALUATION_BATCH):
            whole = network.features(batch.frames, batch.valid)
            nothing = network.features(*_unseen(network, split)).encoded
            for subset in subsets:
                chosen = torch.tensor([name in subset.modalities for name in names], device=split.device)
                encoded = torch.where(chosen[None, :, None], whole.encoded, nothing)
                outputs = network.fuse(encoded, whole.available & chosen).outputs
                totals[subset] += float(task_loss(outputs, batch.labels, task)) * len(batch.labels)
    return {subset: total / len(split) for subset, total in totals.items()}


def train_hrlf(
    dataset: Dataset,
    recipe: HrlfRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
) -> TrainedTeacher:
    """Both stages; goes on where an interrupted call with the same arguments stopped.

    Args:
        dataset: already normalized, with a train and a valid split.
        recipe: sizes, weights, epochs.
        seed: of initial weights, order, dropout and masks.
        context: on what to train.
        work_dir: folder of the two stages' checkpoints.

    Raises:
        DataError: a split is missing or empty.
        TrainingError: a loss is not finite.
    """
    device = context.device
    data = StageData.of(dataset, device)
    teacher, student = (untrained(recipe, dataset, seed + stage, device) for stage in (0, 1))
    config = teacher.config
    run = partial(fit, context=context, seed=seed, fingerprint=f"{dataset.digest} {config} {recipe}")
    complete = CompleteStage(teacher, data, recipe, context)
    first = run(complete, recipe.plan(recipe.epochs), work_dir=work_dir / "complete", stage="teacher")
    teacher.requires_grad_(requires_grad=False)
    if recipe.from_teacher:
        student.load_state_dict(teacher.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, _INITIAL, 1))
        robust = RobustStage((student, teacher), data, recipe, seed, context)
    second = run(robust, recipe.plan(recipe.robust_epochs), work_dir=work_dir / "robust", stage="robust")
    errors = subset_errors(student, data.valid, dataset.task, subsets_of(config.dims))
    metrics = {"complete_valid_error": first.best, "valid_error": second.best}
    metrics |= {f"valid_error_{subset.value}": error for subset, error in errors.items()}
    weights = to_numpy(student) | {COMPLETE_PREFIX + name: value for name, value in to_numpy(teacher).items()}
    return TrainedTeacher(weights, config, first.rows + second.rows, metrics)


def _encoded(network: Hrlf, split: SplitTensors) -> Tensor:
    """Z of every sample of a split, (N, n, d), without a gradient."""
    with torch.no_grad():
        return torch.cat([network.encode(b.frames, b.valid)[0] for b in split.batches(_EVALUATION_BATCH)])


def untrained(recipe: HrlfRecipe, dataset: Dataset, seed: int, device: torch.device) -> Hrlf:
    """The network that the recipe makes for that data, its weights new, on the device."""
    config = HrlfConfig(
        dataset.dims,
        recipe.d,
        recipe.heads,
        recipe.layers,
        recipe.dropout,
        dataset.task.outputs,
        recipe.input_dropout,
        recipe.pooling,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, _INITIAL))
        network = Hrlf(config)
    start_at_prior(network.classifier, dataset.split("train").labels, dataset.task)
    return network.to(device)


def _unseen(network: Hrlf, split: SplitTensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One sample that lacks every modality: `frames` and `valid`."""
    frames = {name: torch.zeros(1, 1, dim, device=split.device) for name, dim in network.config.dims.items()}
    return frames, {name: torch.zeros(1, 1, dtype=torch.bool, device=split.device) for name in frames}


def _weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    loss = sum((terms[name] * weights.get(name, 1.0) for name in terms), start=terms["task"].new_zeros(()))
    return {"loss": loss, **terms}


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
