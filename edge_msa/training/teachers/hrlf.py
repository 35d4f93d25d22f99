"""The two stages of HRLF: a teacher on complete samples, then a robust network of the same structure under MSM.

The paper leaves some details open. This implementation makes the following choices (`edge_msa.models.hrlf` documents
those of the network):

- *Loss weights*: The paper adds all terms with weight 1. Literally (presets `paper-...`), this trains a student whose
  predictions are constant on CMU-MOSI. The default objective differs in three ways, each of them a field of the recipe:
  L_FRF is relative to the scale of its targets (`frf_distance`), the discriminators of L_HAL have an optimizer of
  their own (`hal_schedule`), and the auxiliary terms start at weight 0 (`ramp`).
- *Initialization of stage 2*: The teacher's weights by default, new weights as published (`init_from_teacher`).
- *FRF with missing modalities*: A modality without a valid frame has a constant Z, which cannot be reconstructed
  meaningfully. The terms are therefore averaged over the modalities, and pairs of modalities, that a sample has. For
  complete samples, this equals the paper's L_FRF.
- *Targets* of the three reconstruction terms have no gradient. Otherwise Z and Q would move towards their own
  reconstructions and shrink to 0.
- *HMI*: One statistics network per scale, an MLP with one hidden layer on the concatenated features. Marginal pairs
  come from rolling the batch by one sample.
- *HAL*: One discriminator per scale. The paper states no schedule. `hal_schedule = "alternate"` gives the
  discriminators an optimizer of their own (`edge_msa.training.adversary`). With `reverse`, gradient reversal gives the
  student exactly the gradient of the paper's log(1 - D), and one optimizer step serves both sides.
- *L_KL*: See `prediction_divergence`.
- *Teacher*: The best epoch of stage 1 on validation, frozen, in evaluation mode, applied to the complete sample.
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

from edge_msa.config.teachers import FrfDistance, HalSchedule, HrlfRecipe
from edge_msa.data.dataset import Dataset, SplitName
from edge_msa.data.tasks import Task
from edge_msa.models.hrlf import Hrlf, HrlfConfig, HrlfFeatures
from edge_msa.training.adversary import Adversary
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import init_bias_to_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import (
    adversarial_loss,
    class_weights,
    discriminator,
    euclidean_distance,
    jensen_shannon_information,
    prediction_divergence,
    relative_distance,
    reverse_gradient,
    task_loss,
)
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import COMPLETE_PREFIX, weights_to_numpy
from edge_msa.training.randomness import seed_of
from edge_msa.training.tensors import Batch, SplitTensors
from edge_msa_runtime.modalities import Subset, subsets_of

_INITIAL = 3
_SPLITS: tuple[SplitName, SplitName] = ("train", "valid")
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainedHrlf:
    """The result of `train_hrlf`."""

    weights: dict[str, NDArray[np.float32]]
    """Weights of the robust network, and those of the complete teacher with the prefix `COMPLETE_PREFIX`."""
    config: HrlfConfig
    """Sizes of both networks."""
    log: list[LogRow]
    """One row per epoch of both stages."""
    metrics: dict[str, float]
    """Validation errors of the best epochs."""


@dataclass(frozen=True)
class StageData:
    """The training and validation data of both stages."""

    train: SplitTensors
    valid: SplitTensors
    task: Task

    @classmethod
    def load(cls, dataset: Dataset, device: torch.device) -> StageData:
        """Move both splits of a dataset to the device."""
        train, valid = (SplitTensors(dataset.split(name), dataset.dims, device) for name in _SPLITS)
        return cls(train, valid, dataset.task)


class FeatureAlignment(nn.Module):
    """The auxiliary networks of stage 2's losses that the optimizer of the student trains.

    They are a statistics network per scale, and for `hal_schedule = "reverse"` a discriminator per scale.
    """

    def __init__(self, config: HrlfConfig, schedule: HalSchedule) -> None:
        super().__init__()
        widths, hidden = scale_widths(config), 2 * config.d
        self.statistics = nn.ModuleList(discriminator(2 * width, hidden) for width in widths)
        reversed_widths = widths if schedule == "reverse" else ()
        self.discriminators = nn.ModuleList(discriminator(width, hidden) for width in reversed_widths)

    def information(self, teacher: HrlfFeatures, student: HrlfFeatures) -> Tensor:
        """Return L_HMI: the negative mutual information of the two networks' features, summed over scales."""
        total = student.outputs.new_zeros(())
        for network, expected, features in zip(self.statistics, teacher.scales, student.scales, strict=True):
            joint = network(torch.cat([expected, features], dim=1))
            marginal = network(torch.cat([expected.roll(1, dims=0), features], dim=1))
            total = total - jensen_shannon_information(joint, marginal)
        return total

    def reversed_loss(self, teacher: HrlfFeatures, student: HrlfFeatures) -> Tensor:
        """Return -L_HAL, summed over scales. The discriminators minimize it and the student maximizes it."""
        total = student.outputs.new_zeros(())
        for network, expected, features in zip(self.discriminators, teacher.scales, student.scales, strict=True):
            total = total + adversarial_loss(network(reverse_gradient(features)), network(expected))
        return total


def scale_widths(config: HrlfConfig) -> tuple[int, int, int]:
    """Return the widths of the multi-scale features E1, E2 and E3."""
    return 2 * len(config.dims) * config.d, 4 * config.d, config.d


def factorization_loss(network: Hrlf, features: HrlfFeatures, distance: FrfDistance = "relative") -> Tensor:
    """Return L_FRF = L_self + L_cross + L_recon over the modalities that each sample has, in the given distance."""
    measure = {"norm": euclidean_distance, "relative": relative_distance}[distance]
    decoded = network.exchange(features)
    available = features.available.to(decoded.dtype)
    pairs = available[:, :, None] * available[:, None, :]
    same = torch.eye(available.shape[1], device=available.device)
    errors = measure(decoded, features.encoded.detach()[:, None])
    total = _weighted_mean(errors, pairs * same) + _weighted_mean(errors, pairs * (1 - same))
    # decoded[:, b, a] = D_r(Q_b, U_a) must have the sentiment of modality a, according to a's E_S.
    return total + _weighted_mean(measure(network.sentiment(decoded), features.relevant.detach()[:, None]), pairs)


class CompleteObjective(Objective):
    """The objective of stage 1: the task loss and FRF, on complete samples."""

    def __init__(self, network: Hrlf, data: StageData, recipe: HrlfRecipe, context: TrainingContext) -> None:
        super().__init__()
        self.network = network
        self.size = len(data.train)
        self._data, self._recipe, self._context = data, recipe, context
        self._weights = class_weights(data.train.labels, data.task, recipe.class_weights)
        self._ramp = torch.ones((), device=data.train.device)  # a tensor, so that torch.compile does not specialize it

    def begin(self, epoch: int) -> None:
        """Set the weight of L_FRF for the epoch."""
        self._ramp.fill_(self._recipe.ramp_at(epoch, self._recipe.epochs))

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss terms of the samples `rows`."""
        features = compute_features(
            self.network, self._data.train.batch(self._context.share(rows)), len(rows), self._context
        )
        labels = self._data.train.labels[rows]
        terms = {"task": task_loss(features.outputs, labels, self._data.task, self._recipe.score_loss, self._weights)}
        if self._recipe.frf:
            terms["frf"] = factorization_loss(self.network, features, self._recipe.frf_distance)
        return _with_total(terms, {"frf": self._recipe.frf * self._ramp})

    def validate(self) -> dict[str, float]:
        """Return the error with all modalities as the metric."""
        subset = Subset.of(self.network.config.dims)
        errors = subset_errors(self.network, self._data.valid, self._data.task, (subset,), self._weights)
        return {"metric": errors[subset]}


class RobustObjective(Objective):
    """The objective of stage 2: all loss terms under MSM, with a frozen teacher on the complete samples."""

    def __init__(
        self, networks: tuple[Hrlf, Hrlf], data: StageData, recipe: HrlfRecipe, seed: int, context: TrainingContext
    ) -> None:
        super().__init__()
        self.network, teacher = networks
        config, device = self.network.config, data.train.device
        self.alignment = FeatureAlignment(config, recipe.hal_schedule).to(device)
        if recipe.hal and recipe.hal_schedule == "alternate":
            self.adversary = Adversary(scale_widths(config), 2 * config.d, device, penalty=recipe.hal_penalty)
        self.size = len(data.train)
        self._data, self._recipe, self._seed, self._context = data, recipe, seed, context
        self._weights = class_weights(data.train.labels, data.task, recipe.class_weights)
        # The teacher is frozen and its samples are the same in every epoch, so they are encoded once.
        self._encoded = _encode_split(teacher.eval(), data.train)
        self._teacher = (teacher,)  # in a tuple, the teacher is not part of `parameters()`
        self._visible: dict[str, Tensor] = {}
        self._ramp = torch.ones((), device=device)

    def begin(self, epoch: int) -> None:
        """Draw the masks of the epoch, and set the weights of L_FRF, L_HMI and L_HAL."""
        self._ramp.fill_(self._recipe.ramp_at(epoch, self._recipe.robust_epochs))
        drawn = draw_missing(self._data.train.valid, self._recipe.msm, seed=self._seed, epoch=epoch)
        self._visible = {name: mask.to(self._data.train.device) for name, mask in drawn.items()}

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss terms of the samples `rows`."""
        recipe, task, train = self._recipe, self._data.task, self._data.train
        visible = train.batch(self._context.share(rows), self._visible)
        student = compute_features(self.network, visible, len(rows), self._context)
        terms = {"task": task_loss(student.outputs, train.labels[rows], task, recipe.score_loss, self._weights)}
        if recipe.frf:
            terms["frf"] = factorization_loss(self.network, student, recipe.frf_distance)
        if recipe.hmi or recipe.hal or recipe.kl:
            with torch.no_grad():
                teacher = self._teacher[0].fuse(self._encoded[rows], torch.ones_like(student.available))
            if recipe.hmi:
                terms["hmi"] = self.alignment.information(teacher, student)
            if recipe.hal:
                terms["hal"] = self._alignment_by_adversary(teacher, student)
            if recipe.kl:
                terms["kl"] = prediction_divergence(student.outputs, teacher.outputs, task)
        ramped = {name: getattr(recipe, name) * self._ramp for name in ("frf", "hmi", "hal")}
        return _with_total(terms, {**ramped, "kl": recipe.kl})

    def _alignment_by_adversary(self, teacher: HrlfFeatures, student: HrlfFeatures) -> Tensor:
        """Return the term of L_HAL that the recipe's schedule needs."""
        if self.adversary is not None:
            return self.adversary.student_loss(teacher.scales, student.scales)
        return self.alignment.reversed_loss(teacher, student)

    def validate(self) -> dict[str, float]:
        """Return the error of every subset, and their mean as the metric."""
        subsets = subsets_of(self.network.config.dims)
        errors = subset_errors(self.network, self._data.valid, self._data.task, subsets, self._weights)
        return {"metric": float(np.mean(list(errors.values())))} | {s.value: error for s, error in errors.items()}


def compute_features(network: Hrlf, share: Batch, count: int, context: TrainingContext) -> HrlfFeatures:
    """Return the features of a whole batch of `count` samples, of which this process encodes `share`."""
    encoded, available = network.encode(share.frames, share.valid)
    available = context.merge_shares(available.to(encoded.dtype), count) > 0
    return network.fuse(context.merge_shares(encoded, count), available)


def subset_errors(
    network: Hrlf,
    split: SplitTensors,
    task: Task,
    subsets: tuple[Subset, ...],
    weights: Tensor | None = None,
) -> dict[Subset, float]:
    """Return the error of each subset over a split: MAE of scores, binary cross-entropy of emotions or cross-entropy.

    The Z of a modality does not depend on the others, so each modality is encoded once and fused for every subset.
    """
    totals = dict.fromkeys(subsets, 0.0)
    names = tuple(network.config.dims)
    with torch.no_grad():
        for batch in split.batches(_EVALUATION_BATCH):
            whole = network.features(batch.frames, batch.valid)
            absent = network.features(*_absent_sample(network, split)).encoded
            for subset in subsets:
                selected = torch.tensor([name in subset.modalities for name in names], device=split.device)
                encoded = torch.where(selected[None, :, None], whole.encoded, absent)
                outputs = network.fuse(encoded, whole.available & selected).outputs
                totals[subset] += float(task_loss(outputs, batch.labels, task, weights=weights)) * len(batch.labels)
    return {subset: total / len(split) for subset, total in totals.items()}


def train_hrlf(
    dataset: Dataset,
    recipe: HrlfRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
) -> TrainedHrlf:
    """Train both stages, or resume an interrupted call with the same arguments.

    Args:
        dataset: Normalized dataset with a train and a valid split.
        recipe: Sizes, loss weights and optimizer settings.
        seed: Seed of initial weights, order, dropout and masks.
        context: Hardware to train on.
        work_dir: Folder of the checkpoints of both stages.

    Raises:
        DataError: A split is missing or empty.
        TrainingError: A loss is not finite.
    """
    device = context.device
    data = StageData.load(dataset, device)
    teacher, student = (create_hrlf(recipe, dataset, seed + stage, device) for stage in (0, 1))
    config = teacher.config
    run = partial(fit, context=context, seed=seed, fingerprint=f"{dataset.digest} {config} {recipe!r}")
    complete = CompleteObjective(teacher, data, recipe, context)
    first = run(
        complete, recipe.schedule(recipe.epochs, recipe.learning_rate), work_dir=work_dir / "complete", stage="teacher"
    )
    teacher.requires_grad_(requires_grad=False)
    if recipe.init_from_teacher:
        student.load_state_dict(teacher.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, _INITIAL, 1))
        robust = RobustObjective((student, teacher), data, recipe, seed, context)
    second = run(
        robust,
        recipe.schedule(recipe.robust_epochs, recipe.learning_rate),
        work_dir=work_dir / "robust",
        stage="robust",
    )
    errors = subset_errors(student, data.valid, dataset.task, subsets_of(config.dims))
    metrics = {"complete_valid_error": first.best, "valid_error": second.best}
    metrics |= {f"valid_error_{subset.value}": error for subset, error in errors.items()}
    weights = weights_to_numpy(student) | {
        COMPLETE_PREFIX + name: value for name, value in weights_to_numpy(teacher).items()
    }
    return TrainedHrlf(weights, config, first.rows + second.rows, metrics)


def _encode_split(network: Hrlf, split: SplitTensors) -> Tensor:
    """Return Z of every sample of a split, (N, n, d), without gradients."""
    with torch.no_grad():
        return torch.cat([network.encode(b.frames, b.valid)[0] for b in split.batches(_EVALUATION_BATCH)])


def create_hrlf(recipe: HrlfRecipe, dataset: Dataset, seed: int, device: torch.device) -> Hrlf:
    """Return a network with random weights on the device, with the recipe's sizes for the dataset."""
    config = HrlfConfig(
        dataset.dims,
        d=recipe.d,
        heads=recipe.heads,
        layers=recipe.layers,
        dropout=recipe.dropout,
        outputs=dataset.task.outputs,
        input_dropout=recipe.input_dropout,
        pooling=recipe.pooling,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(seed, _INITIAL))
        network = Hrlf(config)
    init_bias_to_prior(network.classifier, dataset.split("train").labels, dataset.task)
    return network.to(device)


def _absent_sample(network: Hrlf, split: SplitTensors) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return `frames` and `valid` of one sample that lacks every modality."""
    frames = {name: torch.zeros(1, 1, dim, device=split.device) for name, dim in network.config.dims.items()}
    return frames, {name: torch.zeros(1, 1, dtype=torch.bool, device=split.device) for name in frames}


def _with_total(terms: Mapping[str, Tensor], weights: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
    """Return the terms with their weighted sum as `loss`; terms without a weight count once."""
    loss = sum((terms[name] * weights.get(name, 1.0) for name in terms), start=terms["task"].new_zeros(()))
    return {"loss": loss, **terms}


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)
