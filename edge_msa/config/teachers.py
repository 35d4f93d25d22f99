"""Recipes of the teachers, HRLF and ALMT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_msa.config.section import DropoutRate, LossWeight
from edge_msa.config.training import (
    BatchSize,
    Epochs,
    LearningRate,
    MsmConfig,
    OptimizerConfig,
    ScoreLoss,
    TrainingSchedule,
    Warmup,
    WeightDecay,
)
from edge_msa.models.almt import SCALES, FusionName
from edge_msa.models.hrlf import Pooling

TeacherName = Literal["hrlf", "almt"]


class HrlfRecipe(OptimizerConfig):
    """How HRLF is trained.

    The paper states neither loss weights nor MSM probabilities. Defaults for which no source is named are this
    project's.
    """

    epochs: Annotated[Epochs, Field(description="Number of epochs of stage 1, the teacher on complete samples.")] = 12
    robust_epochs: Annotated[
        Epochs, Field(description="Number of epochs of stage 2, the robust network under MSM.")
    ] = 30
    batch_size: BatchSize = 128
    learning_rate: LearningRate = 2e-3
    warmup: Warmup = 0.05
    weight_decay: WeightDecay = 0.1
    score_loss: ScoreLoss = "l1"
    """Task loss for scores. The reported metric is MAE, which `l1` minimizes."""
    d: Annotated[int, Field(ge=2)] = 40
    """Width of the representation Z of one modality, as in the paper. It must be even and a multiple of `heads`."""
    heads: Annotated[int, Field(ge=1)] = 10
    """Number of attention heads; 10 is the paper's value for MOSI."""
    layers: Annotated[int, Field(ge=1)] = 1
    """Number of Transformer layers per modality. The paper does not state it."""
    dropout: DropoutRate = 0.1
    """Dropout rate of activations. The paper does not state it."""
    input_dropout: DropoutRate = 0.0
    """Dropout rate of input features. It is an addition of this project, against memorizing the words of a small
    corpus."""
    pooling: Pooling = "last"
    """How frames become Z: `last` takes the last frame, as published; `max` takes the maximum over frames, an addition
    of this project for small corpora."""
    frf: LossWeight = 0.02
    """Weight of L_FRF, the three reconstruction terms of the factorization; 0 disables it. At 0.1 the network learns to
    reconstruct before it learns the task, and on the synthetic data its predictions stay constant."""
    hmi: LossWeight = 0.01
    """Weight of L_HMI, the mutual information with the teacher's features; 0 disables it."""
    hal: LossWeight = 0.01
    """Weight of L_HAL, the adversarial alignment with the teacher's features; 0 disables it."""
    kl: LossWeight = 1.0
    """Weight of L_KL, the divergence from the teacher's predictions; 0 disables it."""
    init_from_teacher: bool = True
    """Whether stage 2 starts from the teacher's weights instead of random ones."""
    msm: MsmConfig = MsmConfig(intra=0.5)
    """Probabilities of missing modalities and frames in stage 2."""

    @model_validator(mode="after")
    def _check_heads(self) -> HrlfRecipe:
        if self.d % 2 or self.d % self.heads:
            raise ValueError(f"d must be even and a multiple of heads, got d = {self.d} and heads = {self.heads}.")
        return self


class AlmtRecipe(TrainingSchedule):
    """How ALMT is trained. Defaults are the published values; fields that the paper does not have say so."""

    epochs: Epochs = 200
    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 1e-4
    score_loss: ScoreLoss = "mse"
    """Task loss for scores."""
    fusion_depth: Annotated[int, Field(ge=1)] = 2
    """Number of layers of the fusion: 2 for MOSI, 4 for MOSEI and SIMS."""
    tokens: Annotated[int, Field(ge=1)] = 8
    """Number of vectors that each modality is embedded into."""
    share_ahl: bool = False
    """Whether one AHL layer serves all three scales, which saves 198,912 parameters. It is an addition of this
    project."""
    dropout: DropoutRate = 0.0
    """Dropout rate of activations."""
    without: Annotated[tuple[Literal["language", "audio", "vision"], ...], Field(strict=False)] = ()
    """Modalities that the network never receives, in training or in inference, as in the paper's ablation."""
    scales: Annotated[int, Field(ge=1, le=SCALES)] = SCALES
    """Number of scales of the language tokens that guide AHL."""
    ahl: bool = True
    """Whether language guides the attention to audio and vision (AHL); otherwise the features of the three modalities
    are concatenated."""
    fusion: FusionName = "cross"
    """How language and the hyper-modality are fused."""
    robust: bool = False
    """Whether to train under MSM. It is an addition of this project."""
    msm: MsmConfig = MsmConfig()
    """Probabilities of missing modalities and frames; used only if `robust` is true."""


TeacherRecipe = HrlfRecipe | AlmtRecipe


def uses_msm(recipe: TeacherRecipe) -> bool:
    """Return whether a training drops modalities and frames."""
    return isinstance(recipe, HrlfRecipe) or recipe.robust
