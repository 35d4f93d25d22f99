"""Recipes of the models that run on devices: students and text models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge_msa.config.section import DropoutRate, LossWeight, Probability, RecipeSection
from edge_msa.config.training import (
    BatchSize,
    ClassTemperature,
    ClassWeights,
    Epochs,
    LearningRate,
    MsmConfig,
    OptimizerConfig,
    ScoreLoss,
    TrainingSchedule,
    WeightDecay,
)
from edge_msa.data.tasks import Task
from edge_msa.data.tokenization import Normalization
from edge_msa.models.student import ModalitySizes, StudentConfig
from edge_msa.models.student_encoder import Recurrence
from edge_msa_runtime.inputs.conversations import MAX_CONTEXT

ALIGNMENT_TERMS = ("hint", "hmi", "hal", "relations")
"""Loss terms on representations, by the names of their weights in the recipe."""

Size = Annotated[int, Field(ge=1)]
InitialRows = Literal["mean_frames", "embeddings"]


class ModalityRecipe(RecipeSection):
    """Sizes of one modality's encoder; None means the size in the recipe."""

    width: Size | None = None
    """Number of channels, which is also the width of the modality's tokens."""
    blocks: Size | None = None
    """Number of causal convolutions."""
    kernel: Size | None = None
    """Kernel size of each convolution."""
    stride: Size | None = None
    """Number of frames stacked into one row before the convolutions."""
    recurrence: Recurrence | None = None
    """Whether a GRU follows the convolutions."""


class StudentRecipe(TrainingSchedule):
    """How a student is built and trained. Each term of the distillation loss has a weight."""

    width: Size = 32
    """Number of channels of every encoder."""
    blocks: Size = 3
    """Number of causal convolutions per modality; convolution i is dilated by 2**i."""
    kernel: Size = 3
    """Kernel size of each convolution."""
    tokens: Size = 4
    """Number of vectors that the frames of a modality are pooled into."""
    hidden: Size = 64
    """Width of the fusion."""
    stride: Size = 1
    """Number of frames stacked into one row before the convolutions. An incomplete last row waits for more frames."""
    recurrence: Recurrence = "none"
    """Whether a GRU follows the convolutions. It stays in float32 in every quantization scheme."""
    language: ModalityRecipe = ModalityRecipe()
    """Sizes of the language encoder that replace those above."""
    audio: ModalityRecipe = ModalityRecipe()
    """Sizes of the audio encoder that replace those above."""
    vision: ModalityRecipe = ModalityRecipe()
    """Sizes of the vision encoder that replace those above."""
    gap_frames: bool = False
    """Whether a gap frame takes the place of missing frames between two others, so that the frames around a lost one do
    not look adjacent. Words that are passed as text have none."""
    dropout: DropoutRate = 0.3
    """Dropout rate of tokens."""
    epochs: Epochs = 25
    learning_rate: LearningRate = 2e-3
    weight_decay: WeightDecay = 1e-2
    teacher_share: Probability = 0.5
    """Share of the loss that comes from the teachers' predictions; the rest comes from labels. Samples without a label
    use only the teachers, and samples that no teacher can predict use only the label."""
    teacher_weights: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(strict=False)] = ()
    """Weight of each teacher in the mean of the predictions, in the order of the teachers; if empty, all are equal."""
    hint: LossWeight = 0.0
    """Weight of the mean squared error between the first teacher's representation and a linear map of the student's,
    for the same subset; 0 disables it."""
    hmi: LossWeight = 0.0
    """Weight of the negative mutual information of the two representations, like L_HMI in HRLF; 0 disables it."""
    hal: LossWeight = 0.0
    """Weight of the adversarial alignment of the mapped representation with the teacher's, like L_HAL in HRLF; 0
    disables it."""
    relations: LossWeight = 0.0
    """Weight of the difference between the networks' pairwise distances within a batch (RKD); 0 disables it."""
    curriculum: Probability = 0.0
    """Fraction of the epochs over which the MSM probabilities grow from 0 to their values in `msm`. Quantization-aware
    training continues with the values in `msm`."""
    qat_epochs: Annotated[Epochs, Field(description="Number of epochs of quantization-aware training.")] = 3
    qat_learning_rate: Annotated[
        LearningRate, Field(description="Peak learning rate of quantization-aware training.")
    ] = 2e-4
    qat_scheme: str = "ort-x86-vnni"
    """Quantization scheme that quantization-aware training simulates."""
    score_loss: ScoreLoss = "l1"
    """Task loss for scores. Emotions always use binary cross-entropy, classes cross-entropy."""
    class_weights: ClassWeights = "equal"
    temperature: ClassTemperature = 1.0
    msm: MsmConfig = MsmConfig()
    """Probabilities of missing modalities and frames."""

    @property
    def alignment_weights(self) -> dict[str, float]:
        """The weights of the enabled terms on representations, by name."""
        return {name: getattr(self, name) for name in ALIGNMENT_TERMS if getattr(self, name)}

    def msm_at(self, epoch: int) -> MsmConfig:
        """Return the MSM probabilities of an epoch of training, counted from 0, before quantization-aware training."""
        growing = self.curriculum * self.epochs
        share = min(1.0, epoch / growing) if growing else 1.0
        return self.msm.model_copy(update={"inter": self.msm.inter * share, "intra": self.msm.intra * share})

    def network_config(self, dims: Mapping[str, int], task: Task, *, takes_text: bool) -> StudentConfig:
        """Return the sizes of the student for data with `dims` features per frame.

        With `takes_text`, a text encoder computes the language frames. Nothing tells which words of a text are missing.
        """
        with_gaps = [name for name in dims if name != "language" or not takes_text] if self.gap_frames else []
        overrides = {name: ModalitySizes(**getattr(self, name).model_dump()) for name in dims}
        return StudentConfig(
            dict(dims),
            width=self.width,
            blocks=self.blocks,
            kernel=self.kernel,
            tokens=self.tokens,
            hidden=self.hidden,
            outputs=task.outputs,
            dropout=self.dropout,
            stride=self.stride,
            recurrence=self.recurrence,
            overrides={name: sizes for name, sizes in overrides.items() if sizes != ModalitySizes()},
            gap_frames=tuple(with_gaps),
        )


class TextStage(RecipeSection):
    """One stage of training a text model."""

    epochs: Annotated[int, Field(ge=0)]
    """Number of passes over the stage's texts; 0 skips the stage."""
    learning_rate: LearningRate
    teacher_share: Probability = 1.0
    """Share of the loss that comes from the teachers' predictions, if there are teachers."""


class IntermediateTargets(RecipeSection):
    """What a distilled Transformer encoder imitates inside the first teacher, in addition to predictions.

    Both terms apply to the transfer stage only, and need a first teacher that splits texts into the same tokens. Static
    tables and `text train` do not use them.
    """

    hidden: LossWeight = 0.0
    """Weight of 1 minus the cosine between the last hidden states of student and teacher, the mean over tokens. If
    their widths differ, a linear map of the student's is trained with it, and dropped afterwards."""
    relations: LossWeight = 0.0
    """Weight of the self-attention relations of MiniLMv2 (Wang et al. 2021): in the last layer of the student, the
    distributions of queries over queries, keys over keys and values over values imitate those of the teacher."""
    relation_heads: Size | None = None
    """Number of heads that the relations are computed with, which must divide both widths; omit it for one per 16
    features of the teacher, as in the paper."""
    relation_layer: Annotated[int, Field(ge=0)] | None = None
    """Layer of the teacher whose relations are imitated, counted from 0; omit it for the last but an eighth of them, as
    in the paper for 24 layers."""

    @property
    def enabled(self) -> bool:
        """Whether a term has a weight."""
        return bool(self.hidden or self.relations)


class PruneRecipe(RecipeSection):
    """Which parts of the layers a distilled Transformer encoder loses before it is trained.

    The least important parts of all layers are removed. Each layer keeps at least one head and 16 neurons.
    """

    heads: DropoutRate = 0.0
    """Share of the attention heads to remove."""
    neurons: DropoutRate = 0.0
    """Share of the feed-forward neurons to remove. The layers keep multiples of 16."""

    @property
    def enabled(self) -> bool:
        """Whether something is removed."""
        return bool(self.heads or self.neurons)


class TextRecipe(OptimizerConfig):
    """How a text model is built and trained."""

    dim: Size = 64
    """Width of an embedding table's rows. A Transformer encoder has its own width."""
    width: Size = 64
    """Number of channels of the student's encoder."""
    blocks: Size = 1
    """Number of causal convolutions; convolution i is dilated by 2**i."""
    kernel: Size = 3
    """Kernel size of each convolution."""
    recurrence: Recurrence = "none"
    """Whether a GRU follows the convolutions. It stays in float32 in every quantization scheme."""
    tokens: Size = 4
    """Number of vectors that a text is pooled into."""
    hidden: Size = 64
    """Width of the fusion."""
    dropout: DropoutRate = 0.1
    """Dropout rate of tokens."""
    encoder_dropout: DropoutRate | None = None
    """Dropout rate of hidden states and attention in a Transformer encoder; omit it for the rates in the encoder's
    config."""
    unknown_rate: DropoutRate = 0.0
    """Fraction of tokens that training replaces with the unknown token."""
    max_tokens: Annotated[int, Field(ge=3)] = 128
    """Maximum number of tokens, including up to two special tokens. Longer texts are truncated."""
    normalization: Normalization = "auto"
    """How text is changed before it is split into tokens. `english` ignores case, accents, punctuation and symbols.
    `words` ignores case and punctuation in any script, and keeps accents, vowel signs and emoji. `tokenizer` is what a
    pre-trained tokenizer does itself. `auto` is `english` for English transcripts, unless a pre-trained tokenizer
    distinguishes case. Otherwise it is `tokenizer` for a pre-trained one, and `words` for a new table. A run
    keeps its tokenizer."""
    context: Annotated[int, Field(ge=0, le=MAX_CONTEXT)] = 0
    """Number of earlier utterances of the same video that a Transformer encoder reads after each text. Their tokens
    count toward `max_tokens`; the oldest ones are left out first. An embedding table has none, because its rows do not
    depend on other words."""
    context_dropout: Probability = 0.3
    """Share of the texts that training shows without earlier utterances, so that the model works without them."""
    freeze_embeddings: bool = True
    """Whether the word embeddings of a Transformer encoder stay fixed. Most words never occur in the training texts."""
    reset_layers: Annotated[int, Field(ge=0)] = 0
    """Number of last layers of a pre-trained Transformer encoder that start with new random weights (Zhang et al.
    2021). Encoders that come from a teacher, without `--encoder`, keep all weights."""
    augment: Probability = 0.0
    """Share of the texts whose words are changed in each epoch. Each one loses a span of words, or random words of the
    corpus replace some of its words. Its label stays. Texts with a prediction of teachers are not changed, because the
    prediction would not fit; `transfer_copies` is for distillation."""
    augment_words: Annotated[int, Field(ge=1)] = 2
    """Maximum number of words that `augment` changes in a text. It changes at most a quarter of the words, so texts of
    fewer than four words stay as they are."""
    transfer_copies: Annotated[int, Field(ge=0)] = 0
    """Number of changed copies of each text that distillation adds to the transfer stage, with the teachers'
    predictions for the copies as the only targets. At most half of the words change: a copy loses a span
    of words, is a part of the text, or has random words of the corpus in place of some of its words. The copies do not
    depend on the seed."""
    mix: Annotated[int, Field(ge=0)] = 0
    """How many times more the transfer stage contains the texts of the target corpus. With 0, training has the other
    corpora only, and distillation has every corpus once."""
    transfer: TextStage = TextStage(epochs=2, learning_rate=5e-5)
    """The first stage, on the transfer corpora."""
    final: TextStage = TextStage(epochs=6, learning_rate=5e-5, teacher_share=0.5)
    """The second stage, on the last corpus."""
    intermediate: IntermediateTargets = IntermediateTargets()
    """Targets inside the first teacher, for the transfer stage of `text distill`."""
    prune: PruneRecipe = PruneRecipe()
    """Heads and neurons that `text distill --text-encoder encoder` removes from the encoder that it starts from, which
    must be trained: that of the first teacher, or a run of `edge-msa text`."""
    initial_rows: InitialRows = "mean_frames"
    """What the initial rows of a distilled table are: the mean last hidden state of each wordpiece over the
    transcripts, or its embedding before the first layer. A PCA reduces both to `dim`."""
    student_rate_factor: Annotated[float, Field(gt=0)] = 10.0
    """Learning rate of the student on top of a pre-trained Transformer encoder, relative to that of the encoder."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of each layer of a Transformer encoder, relative to that of the layer above it. The last layer has
    the full rate, and the embeddings are below the first layer. 1 gives all layers the same rate."""
    r_drop: LossWeight = 0.0
    """Weight of the mean squared difference between two predictions of the same texts with different dropout (R-Drop,
    Liang et al. 2021). It doubles the time of a training step; 0 disables it."""
    batch_size: BatchSize = 32
    weight_decay: WeightDecay = 1e-2
    score_loss: ScoreLoss = "l1"
    """Task loss for scores."""
    class_weights: ClassWeights = "equal"
    temperature: ClassTemperature = 1.0

    @model_validator(mode="after")
    def _check_epochs(self) -> TextRecipe:
        if not self.transfer.epochs + self.final.epochs:
            raise ValueError("transfer.epochs and final.epochs are both 0. Give at least one stage an epoch.")
        return self

    def network_config(self, dim: int, task: Task) -> StudentConfig:
        """Return the sizes of the student on top of a text encoder with `dim` features per token."""
        return StudentConfig(
            {"language": dim},
            width=self.width,
            blocks=self.blocks,
            kernel=self.kernel,
            tokens=self.tokens,
            hidden=self.hidden,
            outputs=task.outputs,
            dropout=self.dropout,
            recurrence=self.recurrence,
        )
