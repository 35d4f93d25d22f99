"""Train ALMT: one network, the task loss only, and the best epoch on validation.

The paper leaves some details open, and this project changes some others. `edge_msa.models.almt` documents the details
of the network. Those of the training are:

- *Loss*: The squared error, as published. Emotions use binary cross-entropy.
- *Best epoch*: The lowest mean absolute error on validation with all modalities of the training split. The authors
  report the best test result over epochs; here the test split is not used.
- *Missing data*: The published ALMT trains on complete samples. With `robust`, MSM drops modalities and frames, and the
  best epoch is that of the lowest mean error over all subsets.
- *Initialization*: The last bias starts at the best constant (`init_bias_to_prior`), in the authors' code near 0.
- *Features* are normalized over the training frames, as for every model of this project. The authors do not normalize.
- *The gradient norm* is limited to 1, as for every model of this project. The authors do not limit it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa.config.teachers import AlmtRecipe
from edge_msa.data.dataset import Dataset, Frames
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import init_bias_to_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import class_weights, task_loss
from edge_msa.training.missing_modalities import draw_missing
from edge_msa.training.predict import weights_to_numpy
from edge_msa.training.randomness import seed_of
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import Subset, subsets_of

_INITIAL = 4
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class TrainedAlmt:
    """The result of `train_almt`."""

    weights: dict[str, NDArray[np.float32]]
    """Weights by the authors' names."""
    config: AlmtConfig
    """Sizes of the network."""
    log: list[LogRow]
    """One row per epoch."""
    metrics: dict[str, float]
    """Validation errors of the best epoch."""


def train_almt(
    dataset: Dataset,
    recipe: AlmtRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
) -> TrainedAlmt:
    """Train ALMT, or resume an interrupted call with the same arguments.

    Args:
        dataset: Normalized dataset with a train and a valid split.
        recipe: Sizes and optimizer settings.
        seed: Seed of initial weights, order, dropout and masks.
        context: Hardware to train on.
        work_dir: Folder of the checkpoint.

    Raises:
        DataError: A split is missing or empty.
        TrainingError: The loss is not finite.
    """
    objective = AlmtObjective.create(dataset, recipe, seed, context)
    config = objective.network.config
    fingerprint = f"{dataset.digest} {config} {recipe!r}"
    result = fit(
        objective, recipe, context=context, seed=seed, work_dir=work_dir, fingerprint=fingerprint, stage="almt"
    )
    errors = objective.errors(subsets_of(config.dims))
    metrics = {"valid_error": result.best, "best_epoch": float(result.best_epoch + 1)}
    metrics |= {f"valid_error_{subset.value}": error for subset, error in errors.items()}
    return TrainedAlmt(weights_to_numpy(objective.network), config, result.rows, metrics)


class AlmtObjective(Objective):
    """The task loss, under MSM if the recipe is robust."""

    def __init__(
        self, network: Almt, dataset: Dataset, recipe: AlmtRecipe, seed: int, context: TrainingContext
    ) -> None:
        super().__init__()
        self.network = network
        self._context = context
        self._train, self._valid = (
            SplitTensors(split, network.config.dims, context.device)
            for split in (dataset.split("train"), dataset.split("valid"))
        )
        self.size = len(self._train)
        self._task: Task = dataset.task
        self._weights = class_weights(self._train.labels, dataset.task, recipe.class_weights)
        self._recipe, self._seed = recipe, seed
        trained = [name for name, mask in self._train.valid.items() if mask.any()] or list(network.config.dims)
        self._subsets = subsets_of(trained) if recipe.robust else (Subset.of(trained),)
        self._visible: Mapping[str, Tensor] | None = None

    @classmethod
    def create(cls, dataset: Dataset, recipe: AlmtRecipe, seed: int, context: TrainingContext) -> AlmtObjective:
        """Return the objective of a new network with random weights."""
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, _INITIAL))
            network = Almt(network_config(recipe, dataset))
        init_bias_to_prior(cast("nn.Linear", network.regression_layer[0]), dataset.split("train").labels, dataset.task)
        return cls(network.to(context.device), dataset, recipe, seed, context)

    def begin(self, epoch: int) -> None:
        """Draw the masks of the epoch."""
        if self._recipe.robust:
            drawn = draw_missing(self._train.valid, self._recipe.msm, seed=self._seed, epoch=epoch)
            self._visible = {name: mask.to(self._train.device) for name, mask in drawn.items()}

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss of the samples `rows`."""
        visible = self._train.batch(self._context.share(rows), self._visible)
        outputs = self._context.merge_shares(self.network(visible.frames, visible.valid), len(rows))
        labels = self._train.labels[rows]
        return {"loss": task_loss(outputs, labels, self._task, self._recipe.score_loss, self._weights)}

    def validate(self) -> dict[str, float]:
        """Return the error of each trained subset, and their mean as the metric."""
        errors = self.errors(self._subsets)
        return {"metric": float(np.mean(list(errors.values())))} | {s.value: error for s, error in errors.items()}

    def errors(self, subsets: tuple[Subset, ...]) -> dict[Subset, float]:
        """Return the error of each subset: MAE of scores, binary cross-entropy of emotions or cross-entropy."""
        totals = dict.fromkeys(subsets, 0.0)
        with torch.no_grad():
            for batch in self._valid.batches(_EVALUATION_BATCH):
                for subset in subsets:
                    visible = batch.restricted(subset.modalities)
                    outputs = self.network(visible.frames, visible.valid)
                    loss = task_loss(outputs, batch.labels, self._task, weights=self._weights)
                    totals[subset] += float(loss) * len(batch.labels)
        return {subset: total / len(self._valid) for subset, total in totals.items()}


def network_config(recipe: AlmtRecipe, dataset: Dataset) -> AlmtConfig:
    """Return the sizes of the network for a dataset.

    Raises:
        UsageError: The recipe's `without` removes all modalities of the dataset.
    """
    dims = {name: dim for name, dim in dataset.dims.items() if name not in recipe.without}
    if not dims:
        available = ", ".join(dataset.dims)
        raise UsageError(f"almt.without removes all modalities of {dataset.name} ({available}). Keep at least one.")
    lengths = count_positions(dataset)
    return AlmtConfig(
        dims,
        {name: lengths[name] for name in dims},
        fusion_depth=recipe.fusion_depth,
        outputs=dataset.task.outputs,
        tokens=recipe.tokens,
        share_ahl=recipe.share_ahl,
        dropout=recipe.dropout,
        scales=recipe.scales,
        ahl=recipe.ahl,
        fusion=recipe.fusion,
    )


def count_positions(dataset: Dataset) -> dict[str, int]:
    """Return the number of positions of each modality: up to the last valid frame of any training sample, at least 1.

    The network has a weight for each position, so other splits must not decide their number. Frames of longer samples
    beyond it are ignored, as in the authors' code; `truncation_notes` says how many samples that affects.
    """
    modalities = dataset.split("train").modalities
    counts = {name: int(_positions(frames).max(initial=1)) for name, frames in modalities.items()}
    return dict.fromkeys(dataset.dims, 1) | counts


def truncation_notes(dataset: Dataset, lengths: Mapping[str, int]) -> Iterator[str]:
    """Yield a note for each modality of each split with samples that are longer than the network's positions.

    Args:
        dataset: Any dataset.
        lengths: Number of positions by modality, as in `AlmtConfig`.
    """
    for split_name, split in dataset.splits.items():
        for name, frames in split.modalities.items():
            longer = int((_positions(frames) > lengths.get(name, frames.length)).sum())
            if longer:
                yield (
                    f"{name}: {longer} of {len(split)} samples in {split_name} are longer than the {lengths[name]} "
                    "positions of ALMT, which ignores their last frames"
                )


def _positions(frames: Frames) -> NDArray[np.int64]:
    """Return the number of frames of each sample up to its last valid one, (N,)."""
    positions: NDArray[np.int64] = np.max(np.where(frames.valid, np.arange(1, frames.length + 1), 0), axis=1)
    return positions
