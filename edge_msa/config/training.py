"""Sections that several recipes share: the optimizer, the schedule of one training stage, and missing modalities."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge_msa.config.section import Probability, RecipeSection

ScoreLoss = Literal["l1", "smooth_l1", "mse"]
ClassWeights = Annotated[
    Literal["equal", "balanced"],
    Field(
        description="Weight of the labels of each class in the cross-entropy of the task `classes`, in training and in "
        "the choice of the best epoch. `balanced` weights a class by the inverse of its share of the training samples, "
        "so that rare classes count as much as frequent ones; this favors Macro F1 over accuracy."
    ),
]
ClassTemperature = Annotated[
    float,
    Field(
        gt=0,
        allow_inf_nan=False,
        description="Temperature of distillation with the task `classes`: the logits of teachers and student are "
        "divided by it before the softmax, so that the student also learns which wrong classes are likely (Hinton et "
        "al. 2015). The loss is multiplied by its square.",
    ),
]

Epochs = Annotated[int, Field(ge=1, description="Number of passes over the training split.")]
BatchSize = Annotated[int, Field(ge=1, description="Number of samples per optimizer step.")]
LearningRate = Annotated[float, Field(gt=0, description="Peak learning rate of AdamW.")]
Warmup = Annotated[
    float, Field(ge=0, lt=1, description="Fraction of all steps over which the learning rate rises linearly from 0.")
]
Cosine = Annotated[
    bool,
    Field(description="Whether the learning rate then decays to 0 along a cosine; otherwise it stays at its peak."),
]
WeightDecay = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="Decoupled weight decay of AdamW; 0 is plain Adam.")
]
Clip = Annotated[
    float,
    Field(
        ge=0, allow_inf_nan=False, description="Maximum norm of the gradient over all parameters; 0 disables the limit."
    ),
]
Patience = Annotated[
    int | None,
    Field(
        ge=1,
        description="Stop after this many epochs without a better validation metric; omit it to run all epochs.",
    ),
]
Ema = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="Decay per step of an exponential moving average of the weights (EMA). Validation, the best epoch "
        "and the result use the average. In the first steps the decay is lower, so that the initial weights do not "
        "dominate the average. 0 disables it.",
    ),
]


class OptimizerConfig(RecipeSection):
    """The optimizer settings that all stages of a recipe share.

    Recipes inherit from this class and only change defaults.
    """

    batch_size: BatchSize = 64
    warmup: Warmup = 0.1
    cosine: Cosine = True
    weight_decay: WeightDecay = 0.0
    clip: Clip = 1.0
    patience: Patience = None
    ema: Ema = 0.0

    def schedule(self, epochs: int, learning_rate: float) -> TrainingSchedule:
        """Return the schedule of one stage with these settings."""
        shared = {name: getattr(self, name) for name in OptimizerConfig.model_fields}
        return TrainingSchedule(epochs=epochs, learning_rate=learning_rate, **shared)


class TrainingSchedule(OptimizerConfig):
    """Everything that the training loop needs to know about one stage."""

    epochs: Epochs = 1
    learning_rate: LearningRate = 1e-3


class MsmConfig(RecipeSection):
    """Probabilities of modality stochastic missing (MSM). The paper states none, so the defaults are this project's."""

    inter: Probability = 0.75
    """Probability that a sample loses modalities. The modalities that remain are drawn uniformly from the non-empty
    proper subsets of those that the sample has, so all incomplete subsets are equally frequent."""
    intra: Probability = 0.3
    """Probability, for each remaining modality, that some of its frames are dropped."""
    ratios: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, strict=False)] = (
        0.1,
        0.2,
        0.3,
        0.4,
        0.5,
        0.6,
        0.7,
        0.8,
        0.9,
        1.0,
    )
    """Fractions of valid frames to drop. One of them is drawn uniformly. The paper calls this fraction p."""
    bursts: Probability = 0.0
    """Probability that the dropped frames of a modality are consecutive, as when a connection fails for a moment;
    otherwise they are scattered. This field and those below are additions of this project, for live streams."""
    burst_length: Annotated[int, Field(ge=1)] = 4
    """Number of consecutive frames that a burst drops. The last burst may be shorter, and bursts may be adjacent."""
    outage: Probability = 0.0
    """Probability, for each remaining modality, that it is absent during one part of the utterance. The part begins at
    a uniformly drawn frame. It ends at a uniformly drawn later frame or at the end, with equal probabilities."""
    prefix: Probability = 0.0
    """Probability that only the beginning of a sample is visible, as for a prediction in mid-utterance. All modalities
    keep the same share of their frames, which is drawn uniformly, and at least one frame."""
