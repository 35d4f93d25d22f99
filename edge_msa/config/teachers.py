"""Recipes of the teachers, HRLF and ALMT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_msa.config.section import DropoutRate, LossWeight, Probability
from edge_msa.config.training import (
    BatchSize,
    ClassWeights,
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
FrfDistance = Literal["relative", "norm"]
HalSchedule = Literal["alternate", "reverse"]


class HrlfRecipe(OptimizerConfig):
    """How HRLF is trained.

    The paper adds all loss terms with weight 1, and states no MSM probabilities. The presets `paper-...` are literal.
    Defaults for which no source is named are this project's.
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
    class_weights: ClassWeights = "equal"
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
    frf: LossWeight = 1.0
    """Weight of L_FRF, the three reconstruction terms of the factorization; 1 as in the paper, 0 disables it."""
    frf_distance: FrfDistance = "relative"
    """Distance of L_FRF: `norm` is the Euclidean distance, as published. It grows with the width and the scale of Z: on
    CMU-MOSI, L_FRF starts at 14 (`pooling` is `last`) or 26 (`max`), and the task loss at 1.4. `relative` is the root
    mean square error relative to the target's root mean square, an addition of this project; each of the three terms
    starts at about 1."""
    hmi: LossWeight = 1.0
    """Weight of L_HMI, the mutual information with the teacher's features; 1 as in the paper, 0 disables it."""
    hal: LossWeight = 1.0
    """Weight of L_HAL, the adversarial alignment with the teacher's features; 1 as in the paper, 0 disables it."""
    hal_schedule: HalSchedule = "alternate"
    """How L_HAL is trained. The paper does not say. `alternate` trains the discriminators with an optimizer of their
    own (`edge_msa.training.adversary`). `reverse` trains both sides with one optimizer through gradient reversal, which
    is the literal L_HAL; with a weight of 1 and new weights, the student's predictions become constant."""
    hal_penalty: LossWeight = 1.0
    """Weight of the R1 penalty of the discriminators (Mescheder et al. 2018), if `hal_schedule` is `alternate`."""
    kl: LossWeight = 1.0
    """Weight of L_KL, the divergence from the teacher's predictions; 0 disables it."""
    ramp: Probability = 0.5
    """Fraction of the epochs of each stage over which the weights of L_FRF, L_HMI and L_HAL grow linearly from 0, so
    that the network learns the task first. The paper has no ramp, which is 0. On CMU-MOSI (two seeds, weights of 1),
    the validation error averaged over subsets was 1.107 without a ramp and 1.080 with one."""
    init_from_teacher: bool = True
    """Whether stage 2 starts from the teacher's weights instead of random ones, as in the paper."""
    msm: MsmConfig = MsmConfig(intra=0.5)
    """Probabilities of missing modalities and frames in stage 2."""

    def ramp_at(self, epoch: int, epochs: int) -> float:
        """Return the factor of the weights of L_FRF, L_HMI and L_HAL, from 0 to 1.

        Args:
            epoch: Epoch of the stage, counted from 0.
            epochs: Number of epochs of the stage.
        """
        growing = self.ramp * epochs
        return min(1.0, epoch / growing) if growing else 1.0

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
    class_weights: ClassWeights = "equal"
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
