"""Train a text model, which is a text encoder and a student, end to end.

There are two stages. `transfer` trains on all corpora but the last one or, with teachers, on all corpora. `final`
trains on the last corpus only. The validation split of the last corpus decides the best epoch of each stage, and
whether `final` improved the model: if not, the weights of `transfer` are kept. Targets are labels, the teachers'
predictions, or both; texts without a label use only the teachers. In `transfer`, an encoder can also imitate the states
of a teacher's encoder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.console import print_notes
from edge_msa.data.dataset import FloatArray, Split
from edge_msa.data.tasks import Task
from edge_msa.errors import UsageError
from edge_msa.models.student import Student, StudentConfig
from edge_msa.models.text_encoders import TextEncoder, TextModel, TransformerTextEncoder
from edge_msa.training.checkpoint import LogRow
from edge_msa.training.context import TrainingContext, cpu_has_bf16
from edge_msa.training.initialization import init_bias_to_prior
from edge_msa.training.loop import FitResult, Objective, fit
from edge_msa.training.losses import class_weights, task_loss, teacher_losses
from edge_msa.training.predict import weights_to_numpy
from edge_msa.training.randomness import generator_of, seed_of
from edge_msa.training.text.augmentation import change_some_texts
from edge_msa.training.text.intermediate import (
    EncoderStates,
    IntermediateLoss,
    IntermediateTeacher,
    encode_with_states,
)
from edge_msa.training.text.text_input import TextInput, batches_by_length, first_tokens, to_device

_UNKNOWN_TOKENS, _AUGMENTATION, _CONTEXT = 11, 13, 15
TOKENS_PER_PASS = 4096
"""Maximum number of tokens, with padding, whose activations are in memory during training on a CPU."""
_BF16_WIDTH = 128
"""Minimum width of an encoder that gains from bf16 on a CPU."""
_BYTES_PER_TOKEN_AND_CHANNEL = 150
"""Memory of activations per token, layer and channel of a Transformer encoder during training, in bytes."""
_SHARE_OF_GPU = 0.25
"""Share of the memory of a GPU that activations may take."""


@dataclass(frozen=True)
class Corpus:
    """N training texts."""

    texts: tuple[str, ...]
    labels: FloatArray
    """Scores or indices of classes, (N,), NaN for texts without a label."""
    predictions: FloatArray | None = None
    """Mean prediction of the teachers, (N, outputs), see `teacher_outputs`; None without teachers."""
    earlier: tuple[tuple[str, ...], ...] = ()
    """The texts before each text in its video, see `Split.earlier`; empty if nothing is known."""

    def targets(self, task: Task) -> FloatArray:
        """Return the labels, and what the teachers predict for texts without a label, (N,)."""
        if self.predictions is None:
            return self.labels
        predicted = self.predictions.reshape(len(self.labels), -1)
        predicted = predicted.argmax(axis=1) if task.kind == "classes" else predicted[:, 0]
        return np.where(np.isfinite(self.labels), self.labels, predicted)

    @classmethod
    def concatenate(cls, splits: Sequence[Split], predictions: FloatArray | None = None) -> Corpus:
        """Return the texts of several splits, one after the other."""
        texts = tuple(text for split in splits for text in split.texts)
        return cls(texts, np.concatenate([split.labels for split in splits]), predictions, _join_earlier(splits))

    @classmethod
    def join(cls, *corpora: Corpus) -> Corpus:
        """Return the texts of several corpora with predictions, one after the other."""
        texts = tuple(text for corpus in corpora for text in corpus.texts)
        predictions = [corpus.predictions for corpus in corpora if corpus.predictions is not None]
        labels = np.concatenate([corpus.labels for corpus in corpora])
        return cls(texts, labels, np.concatenate(predictions), _join_earlier(corpora))


def _join_earlier(parts: Sequence[Split | Corpus]) -> tuple[tuple[str, ...], ...]:
    return tuple(item for part in parts for item in part.earlier or [()] * len(part.texts))


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
    """Validation metrics of the best epoch, which is counted in its stage."""


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
    teacher: IntermediateTeacher | None = None,
) -> TrainedTextModel:
    """Train a text encoder and a student on top of it.

    Args:
        text_input: Tokenizer and text encoder. The text encoder is trained in place.
        corpora: Texts of the stages `transfer` and `final`. A stage without an entry, or with 0 epochs, is skipped.
        valid: Validation split, which decides the best epoch of each stage.
        task: Task of the labels, which must be scores or classes.
        recipe: Recipe of the text model.
        seed: Seed of initial weights, order, dropout, unknown tokens and changed texts.
        context: Hardware to train on.
        work_dir: Folder of the checkpoints.
        fingerprint: Identifies the inputs; a checkpoint with another fingerprint is ignored.
        teacher: Teacher whose states a Transformer encoder imitates in the stage `transfer`.

    Raises:
        TrainingError: The loss is not finite.
        UsageError: The recipe does not fit the text encoder, or the encoder cannot imitate the teacher.
    """
    all_stages = {"transfer": recipe.transfer, "final": recipe.final}
    stages = {name: stage for name, stage in all_stages.items() if name in corpora and stage.epochs}
    named = [*((f"the {name} stage", corpora[name].texts) for name in stages), ("the valid split", valid.texts)]
    print_notes(note for name, texts in named if (note := text_input.tokenizer.truncation_note(name, texts)))
    config = recipe.network_config(text_input.text_encoder.dim, task)
    torch.manual_seed(seed)
    student = Student(config)
    init_bias_to_prior(
        student.fusion.output, corpora["final" if "final" in corpora else "transfer"].targets(task), task
    )
    if isinstance(text_input.text_encoder, TransformerTextEncoder):
        _prepare_encoder(text_input.text_encoder, recipe)
        print_notes(_faster_precision(text_input.text_encoder, context))
    model = TextModel(text_input.text_encoder, student).to(context.device)
    log: list[LogRow] = []
    best: FitResult | None = None
    best_weights: Mapping[str, Tensor] = model.state_dict()
    for name, stage in stages.items():
        objective = TextObjective(
            model,
            text_input,
            corpora[name],
            valid,
            task,
            recipe,
            stage,
            seed,
            context,
            teacher if name == "transfer" else None,
        )
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
        if best is not None and result.best >= best.best:
            print_notes([f"the {name} stage does not lower the validation error: its weights are not used"])
        else:
            best = result
            best_weights = {key: value.detach().clone() for key, value in model.state_dict().items()}
    model.load_state_dict(best_weights)
    model.eval().to("cpu")
    metrics = {} if best is None else {"validation_metric": best.best, "best_epoch": best.best_epoch + 1}
    return TrainedTextModel(text_input, config, weights_to_numpy(student), log, metrics)


def _prepare_encoder(text_encoder: TransformerTextEncoder, recipe: TextRecipe) -> None:
    """Freeze the word embeddings and set the dropout rate as the recipe says."""
    if recipe.freeze_embeddings:
        text_encoder.encoder.embeddings.word_embeddings.weight.requires_grad_(requires_grad=False)
    if recipe.encoder_dropout is not None and not text_encoder.set_dropout(recipe.encoder_dropout):
        raise UsageError(
            f"text.encoder_dropout must be omitted for this encoder, which has no dropout layers, got "
            f"{recipe.encoder_dropout:g}. Omit it."
        )


def _faster_precision(text_encoder: TransformerTextEncoder, context: TrainingContext) -> list[str]:
    """Return a note if this processor would train the encoder faster in bf16."""
    is_wide = text_encoder.dim >= _BF16_WIDTH
    if not is_wide or context.device.type != "cpu" or context.precision != "32" or not cpu_has_bf16():
        return []
    return ["this processor multiplies in bf16: --training-precision bf16 trains an encoder 2 to 3 times as fast"]


def _tokens_per_pass(text_encoder: TextEncoder, device: torch.device) -> int:
    """Return the maximum number of tokens, with padding, whose activations may be in memory."""
    if device.type != "cuda" or not isinstance(text_encoder, TransformerTextEncoder):
        return TOKENS_PER_PASS
    per_token = _BYTES_PER_TOKEN_AND_CHANNEL * text_encoder.layers * text_encoder.dim
    available = torch.cuda.get_device_properties(device).total_memory * _SHARE_OF_GPU
    return max(TOKENS_PER_PASS, int(available / per_token))


class TextObjective(Objective):
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
        teacher: IntermediateTeacher | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._teacher, self.intermediate = teacher, None
        if teacher is not None and isinstance(model.text_encoder, TransformerTextEncoder):
            teacher.to(context.device)
            self.intermediate = IntermediateLoss(model.text_encoder, teacher).to(context.device)
        self._text_input, self._task, self._recipe, self._seed, self._context = text_input, task, recipe, seed, context
        self._corpus = corpus
        tokenizer = text_input.tokenizer
        self._own_ids = tokenizer.ids(corpus.texts)
        self._own_counts = self._epoch_counts = [len(item) for item in self._own_ids]
        self._ids = self._epoch_ids = tokenizer.append_earlier(self._own_ids, corpus.earlier)
        self._tokens_per_pass = _tokens_per_pass(text_input.text_encoder, context.device)
        self._special = torch.tensor(sorted(text_input.tokenizer.special_ids), device=context.device, dtype=torch.long)
        self._unknown = text_input.tokenizer.unknown
        self.lengths = torch.tensor([len(item) for item in self._ids])
        self.size = len(self._ids)
        self._labels = torch.from_numpy(corpus.labels.reshape(-1, 1)).to(context.device)
        self._has_label = torch.from_numpy(np.isfinite(corpus.labels))
        self._weights = class_weights(self._labels, task, recipe.class_weights)
        self._targets = None
        if corpus.predictions is not None:
            self._targets = torch.from_numpy(corpus.predictions.reshape(self.size, -1)).to(context.device)
        self._teacher_share = 0.0 if corpus.predictions is None else stage.teacher_share
        self._valid = valid
        self._generator = torch.Generator()

    @property
    def rate_factors(self) -> Mapping[str, float]:
        """Factors on the learning rate.

        The student on top of a pre-trained encoder learns faster than the encoder, and the encoder's first layers
        slower than its last ones.
        """
        text_encoder, recipe = self.model.text_encoder, self._recipe
        if not isinstance(text_encoder, TransformerTextEncoder):
            return {}
        by_layer = text_encoder.rate_factors(recipe.layer_decay) if recipe.layer_decay < 1 else {}
        in_model = {f"model.text_encoder.{prefix}": factor for prefix, factor in by_layer.items()}
        factor = recipe.student_rate_factor
        return {"model.student.": factor, "intermediate.": factor} | in_model

    def begin(self, epoch: int) -> None:
        """Seed the generator of the epoch's unknown tokens, change some texts, and hide what is before some texts."""
        self._generator = generator_of(self._seed, epoch, _UNKNOWN_TOKENS)
        recipe, corpus, tokenizer = self._recipe, self._corpus, self._text_input.tokenizer
        self._epoch_ids, self._epoch_counts = list(self._ids), list(self._own_counts)
        if recipe.augment and corpus.predictions is None:
            rng = np.random.default_rng(seed_of(self._seed, epoch, _AUGMENTATION))
            changed = change_some_texts(corpus.texts, recipe.augment, recipe.augment_words, rng)
            own = tokenizer.ids(list(changed.values()))
            texts = tokenizer.append_earlier(own, [corpus.earlier[row] for row in changed] if corpus.earlier else ())
            for row, own_ids, ids in zip(changed, own, texts, strict=True):
                self._epoch_ids[row], self._epoch_counts[row] = ids, len(own_ids)
        if tokenizer.context:
            rng = np.random.default_rng(seed_of(self._seed, epoch, _CONTEXT))
            for row in np.flatnonzero(rng.random(self.size) < recipe.context_dropout).tolist():
                self._epoch_ids[row] = self._epoch_ids[row][: self._epoch_counts[row]]

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the loss terms of the texts `rows`."""
        context = self._context
        chosen = context.share(rows).tolist()
        ids, valid = self._text_input.batch([self._epoch_ids[row] for row in chosen])
        own = first_tokens([self._epoch_counts[row] for row in chosen], valid)
        if self._recipe.unknown_rate:
            unknown = torch.rand(ids.shape, generator=self._generator) < self._recipe.unknown_rate
            special = torch.isin(ids, self._special)
            ids = ids.masked_fill(unknown.to(ids.device) & ~special, self._unknown)
        passes = 2 if self._recipe.r_drop else 1
        parts = self._predict(*(item.repeat(passes, 1) for item in (ids, valid, own))).chunk(passes)
        outputs = torch.cat([context.merge_shares(part, len(rows)) for part in parts])
        predictions = outputs[:, : self.model.student.config.outputs]
        rows = rows.repeat(passes)
        labeled = self._has_label[rows].nonzero()[:, 0]  # on the CPU, which would otherwise wait for a GPU
        terms: dict[str, Tensor] = {}
        loss = predictions.new_zeros(())
        if self._teacher_share < 1 and len(labeled):
            labels = self._labels[to_device(rows[labeled], context.device)]
            selected = predictions[to_device(labeled, context.device)]
            terms["labels"] = task_loss(selected, labels, self._task, self._recipe.score_loss, self._weights)
            loss = loss + (1 - self._teacher_share) * terms["labels"]
        if self._targets is not None and self._teacher_share:
            targets = self._targets[to_device(rows, context.device)]
            losses = teacher_losses(predictions, targets, self._task, self._recipe.score_loss, self._recipe.temperature)
            terms["teachers"] = losses.mean()
            loss = loss + self._teacher_share * terms["teachers"]
        if self._recipe.r_drop:
            first, second = predictions.chunk(2)
            terms["consistency"] = F.mse_loss(first, second)
            loss = loss + self._recipe.r_drop * terms["consistency"]
        if self.intermediate is not None:
            count = sum(len(self._epoch_ids[row]) for row in rows.tolist())
            sums = outputs[:, predictions.shape[1] :].sum(dim=0) / max(1, count)
            for (name, weight), term in zip(self.intermediate.weights.items(), sums, strict=True):
                terms[name] = term
                loss = loss + weight * term
        return {"loss": loss} | terms

    def _predict(self, ids: Tensor, valid: Tensor, own: Tensor) -> Tensor:
        """Return the predictions for a batch, (B, outputs), followed by the terms of intermediate targets, (B, terms).

        For the backward pass, an encoder of 6 layers and width 384 keeps about 330 KB per token. In batches of long
        texts, parts are therefore computed one after the other, and again in the backward pass. Without dropout,
        the gradients are the same.
        """
        inputs = [ids, valid, own]
        if self.intermediate is not None and self._teacher is not None:
            inputs += [item for item in self._teacher(ids, valid) if item is not None]
        part = max(1, self._tokens_per_pass // ids.shape[1])
        if part >= len(ids) or not isinstance(self.model.text_encoder, TransformerTextEncoder):
            return self._compute(*inputs)
        parts = zip(*(torch.split(item, part) for item in inputs), strict=True)
        return torch.cat([checkpoint(self._compute, *items, use_reentrant=False) for items in parts])

    def _compute(self, ids: Tensor, valid: Tensor, own: Tensor, *targets: Tensor) -> Tensor:
        """Return what `_predict` returns for a part of a batch, with the teacher's states for it."""
        if self.intermediate is None or not isinstance(self.model.text_encoder, TransformerTextEncoder):
            predictions: Tensor = self.model(ids, valid, own)
            return predictions
        layer = -1 if "relations" in self.intermediate.weights else None
        states = encode_with_states(self.model.text_encoder, ids, valid, layer)
        predictions = self.model.student({"language": states.hidden}, {"language": own})
        return torch.cat([predictions, self.intermediate(states, EncoderStates(*targets), valid)], dim=1)

    def validate(self) -> dict[str, float]:
        """Return the task loss on the validation split as the metric."""
        valid = self._valid
        predictions = torch.from_numpy(predict_texts(self.model, self._text_input, valid.texts, valid.earlier))
        labels = torch.from_numpy(self._valid.labels.reshape(-1, 1))
        weights = None if self._weights is None else self._weights.cpu()
        return {"metric": task_loss(predictions, labels, self._task, self._recipe.score_loss, weights).item()}


def predict_texts(
    model: TextModel,
    text_input: TextInput,
    texts: Sequence[str],
    earlier: Sequence[Sequence[str]] = (),
    batch_size: int = 64,
) -> NDArray[np.float32]:
    """Return the predictions for texts, (N, outputs). The model is left in evaluation mode.

    `earlier` are the texts before each text, as in `Split.earlier`.
    """
    own = text_input.tokenizer.ids(texts)
    ids = text_input.tokenizer.append_earlier(own, earlier)
    predictions = np.zeros((len(ids), model.student.config.outputs), np.float32)
    model.eval()
    with torch.no_grad():
        for rows in batches_by_length(ids, batch_size):
            batch, valid = text_input.batch([ids[row] for row in rows])
            current = first_tokens([len(own[row]) for row in rows], valid)
            predictions[rows] = model(batch, valid, current).cpu().numpy()
    return predictions
