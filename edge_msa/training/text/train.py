"""Train a text model, which is a text encoder and a student, end to end.

There are two stages. `transfer` trains on all corpora but the last one or, with teachers, on all corpora. `final`
trains on the last corpus only. The validation split of the last corpus decides the best epoch of both stages. Targets
are labels, the teachers' predictions, or both; texts without a label use only the teachers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.console import print_notes
from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.models.student import Student, StudentConfig
from edge_msa.models.text_encoders import TextModel, TransformerTextEncoder
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext
from edge_msa.training.initialization import init_bias_to_prior
from edge_msa.training.loop import Objective, fit
from edge_msa.training.losses import task_loss
from edge_msa.training.predict import weights_to_numpy
from edge_msa.training.randomness import generator_of
from edge_msa.training.text.text_input import TextInput, batches_by_length

_UNKNOWN_TOKENS = 11
TOKENS_PER_PASS = 1024
"""Maximum number of tokens, with padding, whose activations are in memory during training."""


@dataclass(frozen=True)
class Corpus:
    """N training texts."""

    texts: tuple[str, ...]
    labels: FloatArray
    """(N,), NaN for texts without a label."""
    predictions: FloatArray | None = None
    """Mean prediction of the teachers, (N,); None without teachers."""

    @property
    def targets(self) -> FloatArray:
        """The labels, and the teachers' predictions for texts without a label, (N,)."""
        if self.predictions is None:
            return self.labels
        return np.where(np.isfinite(self.labels), self.labels, self.predictions)

    @classmethod
    def concatenate(cls, splits: Sequence[Split], predictions: FloatArray | None = None) -> Corpus:
        """Return the texts of several splits, one after the other."""
        texts = tuple(text for split in splits for text in split.texts)
        return cls(texts, np.concatenate([split.labels for split in splits]), predictions)


@dataclass(frozen=True)
class TrainedTextModel:
    """The result of `fit_text_model`."""

    text_input: TextInput
    """Tokenizer and trained text encoder."""
    config: StudentConfig
    """Sizes of the student."""
    weights: dict[str, NDArray[np.float32]]
    """Weights of the student, by name."""
    log: list[LogRow]
    """One row per epoch of both stages."""
    metrics: dict[str, float | int]
    """Validation metrics of the best epoch."""


def fit_text_model(
    text_input: TextInput,
    corpora: Mapping[str, Corpus],
    valid: Split,
    task: Task,
    recipe: TextRecipe,
    *,
    seed: int,
    context: TrainingContext,
    work_dir: Path,
    fingerprint: str = "",
) -> TrainedTextModel:
    """Train a text encoder and a student on top of it.

    Args:
        text_input: Tokenizer and text encoder. The text encoder is trained in place.
        corpora: Texts of the stages `transfer` and `final`. A stage without an entry, or with 0 epochs, is skipped.
        valid: Validation split, which decides the best epoch of each stage.
        task: Task of the labels, which must be scores.
        recipe: Recipe of the text model.
        seed: Seed of initial weights, order, dropout and unknown tokens.
        context: Hardware to train on.
        work_dir: Folder of the checkpoints.
        fingerprint: Identifies the inputs; a checkpoint with another fingerprint is ignored.

    Raises:
        TrainingError: The loss is not finite.
    """
    all_stages = {"transfer": recipe.transfer, "final": recipe.final}
    stages = {name: stage for name, stage in all_stages.items() if name in corpora and stage.epochs}
    named = [*((f"the {name} stage", corpora[name].texts) for name in stages), ("the valid split", valid.texts)]
    print_notes(note for name, texts in named if (note := text_input.tokenizer.truncation_note(name, texts)))
    config = recipe.network_config(text_input.text_encoder.dim, task)
    torch.manual_seed(seed)
    student = Student(config)
    init_bias_to_prior(student.fusion.output, corpora["final" if "final" in corpora else "transfer"].targets, task)
    if isinstance(text_input.text_encoder, TransformerTextEncoder) and recipe.freeze_embeddings:
        text_input.text_encoder.encoder.embeddings.word_embeddings.weight.requires_grad_(requires_grad=False)
    model = TextModel(text_input.text_encoder, student).to(context.device)
    log: list[LogRow] = []
    metrics: dict[str, float | int] = {}
    for name, stage in stages.items():
        objective = _TextObjective(model, text_input, corpora[name], valid, task, recipe, stage, seed, context)
        result = fit(
            objective,
            recipe.schedule(stage.epochs, stage.learning_rate),
            context=context,
            seed=seed,
            work_dir=work_dir / f"checkpoint-{name}",
            fingerprint=f"{fingerprint} {recipe!r}",
            stage=name,
        )
        log += result.rows
        metrics = {"validation_metric": result.best, "best_epoch": result.best_epoch + 1}
    model.eval().to("cpu")
    return TrainedTextModel(text_input, config, weights_to_numpy(student), log, metrics)


class _TextObjective(Objective):
    """The loss of predictions for texts, on labels and on the teachers' predictions."""

    def __init__(
        self,
        model: TextModel,
        text_input: TextInput,
        corpus: Corpus,
        valid: Split,
        task: Task,
        recipe: TextRecipe,
        stage: TextStage,
        seed: int,
        context: TrainingContext,
    ) -> None:
        super().__init__()
        self.model = model
        self._text_input, self._task, self._recipe, self._seed, self._context = text_input, task, recipe, seed, context
        self._ids = text_input.tokenizer.ids(corpus.texts)
        self._special = torch.tensor(sorted(text_input.tokenizer.special_ids), device=context.device, dtype=torch.long)
        self._unknown = text_input.tokenizer.unknown
        self.lengths = torch.tensor([len(item) for item in self._ids])
        self.size = len(self._ids)
        self._labels = torch.from_numpy(corpus.labels.reshape(-1, 1)).to(context.device)
        self._targets = None if corpus.predictions is None else torch.from_numpy(corpus.predictions.reshape(-1, 1))
        self._teacher_share = 0.0 if corpus.predictions is None else stage.teacher_share
        self._valid = valid
        self._generator = torch.Generator()

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate: the student on top of a pre-trained encoder learns faster than the encoder."""
        is_pretrained = isinstance(self.model.text_encoder, TransformerTextEncoder)
        return {"model.student.": self._recipe.student_rate_factor} if is_pretrained else {}

    def begin(self, epoch: int) -> None:
        """Seed the generator of the epoch's unknown tokens."""
        self._generator = generator_of(self._seed, epoch, _UNKNOWN_TOKENS)

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss terms of the texts `rows`."""
        context = self._context
        ids, valid = self._text_input.batch([self._ids[row] for row in context.share(rows).tolist()])
        if self._recipe.unknown_rate:
            unknown = torch.rand(ids.shape, generator=self._generator) < self._recipe.unknown_rate
            special = torch.isin(ids, self._special)
            ids = ids.masked_fill(unknown.to(ids.device) & ~special, self._unknown)
        predictions = context.merge_shares(self._predict(ids, valid), len(rows))
        labels = self._labels[rows.to(self._labels.device)]
        known = torch.isfinite(labels[:, 0])
        terms: dict[str, Tensor] = {}
        loss = predictions.new_zeros(())
        if self._teacher_share < 1 and known.any():
            terms["labels"] = task_loss(predictions[known], labels[known], self._task, self._recipe.score_loss)
            loss = loss + (1 - self._teacher_share) * terms["labels"]
        if self._targets is not None and self._teacher_share:
            targets = self._targets[rows].to(predictions.device)
            terms["teachers"] = task_loss(predictions, targets, self._task, self._recipe.score_loss)
            loss = loss + self._teacher_share * terms["teachers"]
        return {"loss": loss} | terms

    def _predict(self, ids: Tensor, valid: Tensor) -> Tensor:
        """Return the predictions for a batch.

        For the backward pass, an encoder of 6 layers and width 384 keeps about 330 KB per token. In batches of long
        texts, parts are therefore computed one after the other, and again in the backward pass. Without dropout,
        the gradients are the same.
        """
        part = max(1, TOKENS_PER_PASS // ids.shape[1])
        if part >= len(ids) or not isinstance(self.model.text_encoder, TransformerTextEncoder):
            predictions: Tensor = self.model(ids, valid)
            return predictions
        parts = zip(torch.split(ids, part), torch.split(valid, part), strict=True)
        return torch.cat([checkpoint(self.model, *inputs, use_reentrant=False) for inputs in parts])

    def validate(self) -> dict[str, float]:
        """Return the task loss on the validation split as the metric."""
        predictions = torch.from_numpy(predict_texts(self.model, self._text_input, self._valid.texts))
        labels = torch.from_numpy(self._valid.labels.reshape(-1, 1))
        return {"metric": task_loss(predictions, labels, self._task, self._recipe.score_loss).item()}


def predict_texts(
    model: TextModel, text_input: TextInput, texts: Sequence[str], batch_size: int = 64
) -> NDArray[np.float32]:
    """Return the predictions for texts, (N, outputs). The model is left in evaluation mode."""
    ids = text_input.tokenizer.ids(texts)
    predictions = np.zeros((len(ids), model.student.config.outputs), np.float32)
    model.eval()
    with torch.no_grad():
        for rows in batches_by_length(ids, batch_size):
            predictions[rows] = model(*text_input.batch([ids[row] for row in rows])).cpu().numpy()
    return predictions
