"""Training ALMT: one network, the task's loss alone, the best epoch on validation.

What the paper leaves to its data, or this project does otherwise (the network's own choices stand in
`edge_msa.models.almt`):

- *Loss*: squared error, as published; emotions take binary cross-entropy.
- *Best epoch*: the lowest mean absolute error on validation, from the modalities that the training split has. The
  authors report the best test value over epochs; test is not looked at here.
- *Missing data*: the published ALMT sees complete samples. `robust` hides modalities and frames (MSM); the best epoch
  is then that of the mean error over all subsets.
- *Start*: the last bias begins at the labels' median (see `start_at_prior`); the authors' begins near 0.
- *Features* are normalized over training frames, as for every model here; the authors take them as they are.
- *Gradient norm* is limited to 1, as for every model here; the authors do not limit it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_msa.data.dataset import Dataset
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.almt import SCALES, Almt, AlmtConfig, FusionName
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import start_at_prior
from edge_msa.training.loop import FitPlan, Objective, fit
from edge_msa.training.losses import SCORE_LOSSES, task_loss
from edge_msa.training.missing_modalities import MsmConfig, draw_missing
from edge_msa.training.predict import to_numpy
from edge_msa.training.randomness import seed_of
from edge_msa.training.tensors import SplitTensors
from edge_msa_runtime.modalities import MODALITIES, Subset, subsets_of

_INITIAL = 4
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class AlmtRecipe:
    """How ALMT is trained. The defaults are the published ones; where there are none it is said."""

    epochs: int = 200
    """Passes over the training split."""
    batch_size: int = 64
    """Samples a step."""
    learning_rate: float = 1e-4
    """AdamW's, at its highest."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises."""
    cosine: bool = True
    """Whether the learning rate falls to 0 along a cosine after that."""
    weight_decay: float = 1e-4
    """Decoupled."""
    clip: float = 1.0
    """Largest norm of the gradient (ours)."""
    patience: int | None = None
    """Epochs without a better validation metric after which training ends; leave it out to run all epochs."""
    score_loss: str = "mse"
    """Task loss of scores: l1, smooth_l1 or mse."""
    fusion_depth: int = 2
    """Layers of the fusion: 2 for MOSI, 4 for MOSEI and SIMS."""
    tokens: int = 8
    """Vectors that a modality is embedded into."""
    share_ahl: bool = False
    """Whether one AHL layer serves all three scales: 198,912 parameters less (ours, a cheaper variant)."""
    dropout: float = 0.0
    """Share of dropped activations."""
    without: tuple[str, ...] = ()
    """Modalities that the network never sees, neither in training nor later, as in the paper's ablation."""
    scales: int = SCALES
    """Scales of the text that guide AHL, 1 to 3."""
    ahl: bool = True
    """Whether the language guides what is taken from audio and vision; without, all three are added."""
    fusion: FusionName = "cross"
    """cross, or concatenation in its place."""
    robust: bool = False
    """Whether to train under MSM (ours)."""
    msm: MsmConfig = field(default_factory=MsmConfig)
    """Probabilities of missing modalities and frames, where `robust` is on."""

    def __post_init__(self) -> None:
        _ = self.plan
        if self.score_loss not in SCORE_LOSSES:
            raise UsageError(f"score_loss is {self.score_loss!r}; it is one of: {', '.join(SCORE_LOSSES)}")
        for name in ("fusion_depth", "tokens"):
            if getattr(self, name) < 1:
                raise UsageError(f"almt.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout is {self.dropout}; it is at least 0 and below 1")
        if not 1 <= self.scales <= SCALES:
            raise UsageError(f"almt.scales is {self.scales}; the text has 1 to {SCALES}")
        for name in self.without:
            if name not in MODALITIES:
                raise UsageError(f"almt.without names {name!r}; there are {', '.join(MODALITIES)}")

    @property
    def plan(self) -> FitPlan:
        """The recipe's side of the training loop."""
        return FitPlan(
            self.epochs,
            self.batch_size,
            self.learning_rate,
            self.warmup,
            self.cosine,
            self.weight_decay,
            self.clip,
            self.patience,
        )

    def config(self, dataset: Dataset) -> AlmtConfig:
        """The network for that data.

        Raises:
            UsageError: `without` leaves it nothing to see.
        """
        dims = {name: dim for name, dim in dataset.dims.items() if name not in self.without}
        if not dims:
            raise UsageError(f"almt.without leaves nothing of {dataset.name}, which has {', '.join(dataset.dims)}")
        positions = positions_of(dataset)
        return AlmtConfig(
            dims,
            {name: positions[name] for name in dims},
            self.fusion_depth,
            dataset.task.outputs,
            self.tokens,
            self.share_ahl,
            self.dropout,
            self.scales,
            self.ahl,
            self.fusion,
        )


@dataclass(frozen=True)
class TrainedAlmt:
    """Result of `train_almt`: weights by the authors' names, what rebuilds the network, the log, validation numbers."""

    weights: dict[str, NDArray[np.float32]]
    config: AlmtConfig
    log: list[LogRow]
    metrics: dict[str, float]


def train_almt(
    dataset: Dataset,
    recipe: AlmtRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
) -> TrainedAlmt:
    """Train; goes on where an interrupted call with the same arguments stopped.

    Args:
        dataset: already normalized, with a train and a valid split.
        recipe: sizes, optimizer, epochs.
        seed: of initial weights, order, dropout and masks.
        context: on what to train.
        work_dir: folder of the checkpoint.

    Raises:
        DataError: a split is missing or empty.
        TrainingError: the loss is not finite.
    """
    stage = AlmtStage.of(dataset, recipe, seed, context)
    config = stage.network.config
    fingerprint = f"{dataset.digest} {config} {recipe}"
    fitted = fit(
        stage, recipe.plan, context=context, seed=seed, work_dir=work_dir, fingerprint=fingerprint, stage="almt"
    )
    errors = stage.errors(subsets_of(config.dims))
    metrics = {"valid_error": fitted.best, "best_epoch": float(fitted.best_epoch + 1)}
    metrics |= {f"valid_error_{subset.value}": error for subset, error in errors.items()}
    return TrainedAlmt(to_numpy(stage.network), config, fitted.rows, metrics)


class AlmtStage(Objective):
    """The objective: the task's loss, under MSM where the recipe says so."""

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
        self._recipe, self._seed = recipe, seed
        learned = [name for name, mask in self._train.valid.items() if mask.any()] or list(network.config.dims)
        self._subsets = subsets_of(learned) if recipe.robust else (Subset.of(learned),)
        self._visible: Mapping[str, Tensor] | None = None

    @classmethod
    def of(cls, dataset: Dataset, recipe: AlmtRecipe, seed: int, context: TrainingContext) -> AlmtStage:
        """With the network that the recipe makes for that data and seed, its weights new."""
        with torch.random.fork_rng():
            torch.manual_seed(seed_of(seed, _INITIAL))
            network = Almt(recipe.config(dataset))
        start_at_prior(cast("nn.Linear", network.regression_layer[0]), dataset.split("train").labels, dataset.task)
        return cls(network.to(context.device), dataset, recipe, seed, context)

    def begin(self, epoch: int) -> None:
        """Draw the epoch's masks, if any."""
        if self._recipe.robust:
            drawn = draw_missing(self._train.valid, self._recipe.msm, seed=self._seed, epoch=epoch)
            self._visible = {name: mask.to(self._train.device) for name, mask in drawn.items()}

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """The loss of those samples."""
        batch = self._train.batch(self._context.share(rows))
        seen = batch if self._visible is None else batch.masked(self._visible)
        outputs = self._context.whole(self.network(seen.frames, seen.valid), len(rows))
        return {"loss": task_loss(outputs, self._train.labels[rows], self._task, self._recipe.score_loss)}

    def validate(self) -> dict[str, float]:
        """The error of the subsets that were trained, and their mean, which decides."""
        errors = self.errors(self._subsets)
        return {"metric": float(np.mean(list(errors.values())))} | {s.value: error for s, error in errors.items()}

    def errors(self, subsets: tuple[Subset, ...]) -> dict[Subset, float]:
        """Validation MAE (scores) or binary cross-entropy (emotions) of each subset."""
        totals = dict.fromkeys(subsets, 0.0)
        with torch.no_grad():
            for batch in self._valid.batches(_EVALUATION_BATCH):
                for subset in subsets:
                    seen = batch.restricted(subset.modalities)
                    loss = task_loss(self.network(seen.frames, seen.valid), batch.labels, self._task)
                    totals[subset] += float(loss) * len(batch.labels)
        return {subset: total / len(self._valid) for subset, total in totals.items()}


def positions_of(dataset: Dataset) -> dict[str, int]:
    """How many positions each modality needs: up to the last one at which any sample has a valid frame; at least 1."""
    needed: dict[str, int] = {}
    for split in dataset.splits.values():
        for name, frames in split.modalities.items():
            places = np.flatnonzero(frames.valid.any(axis=0))
            needed[name] = max(needed.get(name, 1), int(places.max(initial=0)) + 1)
    return {name: needed[name] for name in dataset.dims}
