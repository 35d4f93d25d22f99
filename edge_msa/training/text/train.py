"""Training a language reader: a text encoder and a student together, from words to a prediction.

Two stages. `transfer` reads widely: the corpora that were given before the last, or with teachers all of them. `final`
is about the last corpus alone, whose validation split decides in both. Targets are labels, the teachers' predictions, or a
mixture; a sample without a label learns from the teachers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.models.student_encoder import Recurrence
from edge_msa.models.text_encoders import TextModel, TransformerTextEncoder
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import start_at_prior
from edge_msa.training.loop import FitPlan, Objective, fit
from edge_msa.training.losses import SCORE_LOSSES, task_loss
from edge_msa.training.predict import to_numpy
from edge_msa.training.randomness import generator_of
from edge_msa.training.text.text_input import TextInput, by_length

_DROPPED = 11


@dataclass(frozen=True)
class Stage:
    """One stage of training a reader."""

    epochs: int
    """Passes over its texts; 0 leaves the stage out."""
    learning_rate: float
    """Peak of AdamW's rate; of an encoder, whose student takes `student_rate` times as much."""
    from_teachers: float = 1.0
    """Share of the loss that comes from the teachers' predictions, where there are teachers."""

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise UsageError(f"epochs is {self.epochs}; it must be at least 0")
        if self.epochs and not self.learning_rate > 0:
            raise UsageError(f"learning_rate is {self.learning_rate}; it must be above 0")
        if not 0 <= self.from_teachers <= 1:
            raise UsageError(f"from_teachers is {self.from_teachers}; it is a share between 0 and 1")


@dataclass(frozen=True)
class TextRecipe:
    """How a language reader is made."""

    dim: int = 64
    """Features a token of a table; an encoder has its own."""
    width: int = 64
    """Channels of the student's encoder."""
    blocks: int = 1
    """Causal convolutions; the i-th is dilated by 2**i."""
    kernel: int = 3
    """Taps of each."""
    recurrence: Recurrence = "none"
    """`gru` for one behind the convolutions; it stays float in every context."""
    tokens: int = 4
    """Vectors that a text is pooled into."""
    hidden: int = 64
    """Width of the fusion."""
    dropout: float = 0.1
    """On tokens, while training."""
    unknown: float = 0.0
    """Share of the tokens that training replaces by the unknown one."""
    max_tokens: int = 128
    """Longer texts lose their end."""
    freeze_words: bool = True
    """Whether an encoder's word embeddings stay as they are: most words of the language are in no training text."""
    transfer: Stage = field(default_factory=lambda: Stage(2, 5e-5))
    """The first stage."""
    final: Stage = field(default_factory=lambda: Stage(6, 5e-5, 0.5))
    """The second."""
    student_rate: float = 10.0
    """The student's learning rate beside an encoder's, which is trained already."""
    batch_size: int = 32
    """Texts a step."""
    weight_decay: float = 1e-2
    """Decoupled."""
    score_loss: str = "l1"
    """l1, smooth_l1 or mse."""

    def __post_init__(self) -> None:
        for name in ("dim", "width", "blocks", "kernel", "tokens", "hidden", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(f"language.{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_tokens < 3:
            raise UsageError(f"language.max_tokens is {self.max_tokens}; two may be special, so give at least 3")
        for name in ("dropout", "unknown"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"language.{name} is {getattr(self, name)}; it is a share, at least 0 and below 1")
        if not self.student_rate > 0:
            raise UsageError(f"language.student_rate is {self.student_rate}; it must be above 0")
        if self.score_loss not in SCORE_LOSSES:
            raise UsageError(f"language.score_loss is {self.score_loss!r}; it is one of: {', '.join(SCORE_LOSSES)}")
        if not self.transfer.epochs + self.final.epochs:
            raise UsageError("language.transfer.epochs and language.final.epochs are both 0: nothing would be learned")

    def plan(self, stage: Stage) -> FitPlan:
        """The loop's plan of a stage."""
        return FitPlan(stage.epochs, self.batch_size, stage.learning_rate, warmup=0.1, weight_decay=self.weight_decay)

    def student(self, dim: int, task: Task) -> StudentConfig:
        """The network behind a text encoder of that width."""
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


@dataclass(frozen=True)
class Texts:
    """N texts to learn from: `labels` (N,) with NaN where unknown, `taught` (N,) what teachers read, or None."""

    texts: tuple[str, ...]
    labels: FloatArray
    taught: FloatArray | None = None

    @property
    def targets(self) -> FloatArray:
        """Labels where there are any, else what teachers read, (N,)."""
        return self.labels if self.taught is None else np.where(np.isfinite(self.labels), self.labels, self.taught)

    @classmethod
    def of(cls, splits: Sequence[Split], taught: FloatArray | None = None) -> Texts:
        """The texts of several splits, one after the other."""
        texts = tuple(text for split in splits for text in split.texts)
        return cls(texts, np.concatenate([split.labels for split in splits]), taught)


@dataclass(frozen=True)
class TrainedTextModel:
    """What `fit_text_model` gives: the reader's parts, rows of the log, validation metrics of the chosen epoch."""

    text_input: TextInput
    config: StudentConfig
    weights: dict[str, NDArray[np.float32]]
    log: list[dict[str, Any]]
    metrics: dict[str, Any]


def fit_text_model(
    text_input: TextInput,
    corpora: Mapping[str, Texts],
    valid: Split,
    task: Task,
    recipe: TextRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
    fingerprint: str = "",
) -> TrainedTextModel:
    """Train a text encoder and a student behind it.

    Args:
        text_input: tokenizer and text encoder; the text encoder is trained in place.
        corpora: the texts of the stages `transfer` and `final`; a stage without an entry, or of 0 epochs, is left out.
        valid: decides the best epoch of each stage.
        task: of the labels, a score.
        recipe: of the reader.
        seed: of initialization, order, dropout and dropped tokens.
        context: on what to train.
        work_dir: where checkpoints are kept.
        fingerprint: names what a checkpoint must share to be gone on from.

    Raises:
        TrainingError: the loss diverged.
    """
    config = recipe.student(text_input.text_encoder.dim, task)
    torch.manual_seed(seed)
    student = Student(config)
    start_at_prior(student.fusion.read, corpora["final" if "final" in corpora else "transfer"].targets, task)
    if isinstance(text_input.text_encoder, TransformerTextEncoder) and recipe.freeze_words:
        text_input.text_encoder.encoder.embeddings.word_embeddings.weight.requires_grad_(requires_grad=False)
    reader = TextModel(text_input.text_encoder, student).to(context.device)
    log: list[dict[str, Any]] = []
    metrics: dict[str, Any] = {}
    for name, stage in (("transfer", recipe.transfer), ("final", recipe.final)):
        if name not in corpora or not stage.epochs:
            continue
        objective = _Prediction(reader, text_input, corpora[name], valid, task, recipe, stage, seed, context)
        fitted = fit(
            objective,
            recipe.plan(stage),
            context=context,
            seed=seed,
            work_dir=work_dir / f"checkpoint-{name}",
            fingerprint=f"{fingerprint} {recipe}",
            stage=name,
        )
        log += [dict(row) for row in fitted.rows]
        metrics = {"validation_metric": fitted.best, "best_epoch": fitted.best_epoch + 1}
    reader.eval().to("cpu")
    return TrainedTextModel(text_input, config, to_numpy(student), log, metrics)


class _Prediction(Objective):
    """The objective: predictions of texts against labels and teachers."""

    def __init__(
        self,
        reader: TextModel,
        text_input: TextInput,
        corpus: Texts,
        valid: Split,
        task: Task,
        recipe: TextRecipe,
        stage: Stage,
        seed: int,
        context: TrainingContext,
    ) -> None:
        super().__init__()
        self.reader = reader
        self._text_input, self._task, self._recipe, self._seed, self._context = text_input, task, recipe, seed, context
        self._ids = text_input.words.ids(corpus.texts)
        self.lengths = torch.tensor([len(item) for item in self._ids])
        self.size = len(self._ids)
        self._labels = torch.from_numpy(corpus.labels.reshape(-1, 1)).to(context.device)
        self._taught = None if corpus.taught is None else torch.from_numpy(corpus.taught.reshape(-1, 1))
        self._share = stage.from_teachers if corpus.taught is not None else 0.0
        self._valid = valid
        self._noise = torch.Generator()

    @property
    def rates(self) -> Mapping[str, float]:
        """Parts of the reader whose learning rate is a multiple of the plan's."""
        fronted = isinstance(self.reader.text_encoder, TransformerTextEncoder)
        return {"reader.student.": self._recipe.student_rate} if fronted else {}

    def begin(self, epoch: int) -> None:
        """Draw the epoch's dropped tokens anew."""
        self._noise = generator_of(self._seed, epoch, _DROPPED)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Loss terms of those texts."""
        context = self._context
        own = context.share(rows)
        ids, valid = self._text_input.batch([self._ids[row] for row in own.tolist()])
        if self._recipe.unknown:
            dropped = torch.rand(ids.shape, generator=self._noise) < self._recipe.unknown
            ids = ids.masked_fill(dropped.to(ids.device), self._text_input.words.unknown)
        predictions = context.whole(self.reader(ids, valid), len(rows))
        labels = self._labels[rows.to(self._labels.device)]
        known = torch.isfinite(labels[:, 0])
        terms: dict[str, Tensor] = {}
        loss = predictions.new_zeros(())
        if self._share < 1 and known.any():
            terms["labels"] = task_loss(predictions[known], labels[known], self._task, self._recipe.score_loss)
            loss = loss + (1 - self._share) * terms["labels"]
        if self._taught is not None and self._share:
            taught = self._taught[rows].to(predictions.device)
            terms["teachers"] = task_loss(predictions, taught, self._task, self._recipe.score_loss)
            loss = loss + self._share * terms["teachers"]
        return {"loss": loss} | terms

    def validate(self) -> dict[str, float]:
        """The task loss on the validation split."""
        predictions = torch.from_numpy(read_texts(self.reader, self._text_input, self._valid.texts))
        labels = torch.from_numpy(self._valid.labels.reshape(-1, 1))
        return {"metric": task_loss(predictions, labels, self._task, self._recipe.score_loss).item()}


def read_texts(
    reader: TextModel, text_input: TextInput, texts: Sequence[str], batch_size: int = 64
) -> NDArray[np.float32]:
    """Predictions (N, outputs) of texts by a reader, which is left in evaluation mode."""
    ids = text_input.words.ids(texts)
    predictions = np.zeros((len(ids), reader.student.config.outputs), np.float32)
    reader.eval()
    with torch.no_grad():
        for rows in by_length(ids, batch_size):
            predictions[rows] = reader(*text_input.batch([ids[row] for row in rows])).cpu().numpy()
    return predictions
