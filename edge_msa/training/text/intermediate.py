"""Targets inside a teacher's encoder: hidden states, and the self-attention relations of MiniLMv2.

Wang et al., MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained Transformers (2021).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_msa.config.students import IntermediateTargets
from edge_msa.errors import UsageError
from edge_msa.models.text_encoders import TransformerTextEncoder
from edge_msa.training.text.text_input import TextInput

_HEAD_WIDTH = 16
"""Features per relation head: the paper has 48 heads for a width of 768 and 64 for 1024."""
_PROJECTIONS = ("query", "key", "value")
# Subtracted from the scores of padding.
_UNATTENDED = 1e4


class EncoderStates(NamedTuple):
    """What an encoder computes for B texts of T tokens. A part that no term needs is None."""

    hidden: Tensor
    """Last hidden states, (B, T, d)."""
    queries: Tensor | None = None
    """Queries of one layer, (B, T, d)."""
    keys: Tensor | None = None
    """Keys of the layer, (B, T, d)."""
    values: Tensor | None = None
    """Values of the layer, (B, T, d)."""


class IntermediateTeacher:
    """The encoder of a teacher, which computes targets during training.

    It is no module, so that the student's training neither optimizes nor stores its weights.

    Args:
        text_encoder: The encoder. It is put into evaluation mode, and loses the layers that no term needs.
        config: The enabled terms.

    Raises:
        UsageError: The encoder has no such layer, or its attention is not built like BERT's.
    """

    def __init__(self, text_encoder: TransformerTextEncoder, config: IntermediateTargets) -> None:
        self.config = config
        self.dim = text_encoder.dim
        self.relation_heads = config.relation_heads or max(1, self.dim // _HEAD_WIDTH)
        self._layer = text_encoder.layers - 1
        if config.relations:
            self._layer -= text_encoder.layers // 8
            if config.relation_layer is not None:
                self._layer = config.relation_layer
            if self._layer >= text_encoder.layers:
                raise UsageError(
                    "text.intermediate.relation_layer must be a layer of the first teacher, from 0 to "
                    f"{text_encoder.layers - 1}, got {self._layer}."
                )
            _check_attention(text_encoder, "The first teacher")
            _check_heads("the first teacher", text_encoder, self._layer, self.relation_heads)
        if not config.hidden:
            text_encoder.keep_layers(self._layer + 1, "the first teacher")
        self._text_encoder = text_encoder.eval().requires_grad_(requires_grad=False)

    def to(self, device: torch.device) -> None:
        """Move the encoder to a device."""
        self._text_encoder.to(device)

    @torch.no_grad()
    def __call__(self, ids: Tensor, valid: Tensor) -> EncoderStates:
        """Return the targets for ids (B, T) int64 with `valid` (B, T) bool."""
        return encode_with_states(self._text_encoder, ids, valid, self._layer if self.config.relations else None)


class IntermediateLoss(nn.Module):
    """The loss terms of intermediate targets, and the linear map of hidden states if the widths differ.

    Args:
        student: Encoder of the student.
        teacher: The teacher.

    Raises:
        UsageError: The relation heads do not divide the student's width, or its attention is not built like BERT's.
    """

    def __init__(self, student: TransformerTextEncoder, teacher: IntermediateTeacher) -> None:
        super().__init__()
        config = teacher.config
        self.weights = {name: getattr(config, name) for name in ("hidden", "relations") if getattr(config, name)}
        self._heads = teacher.relation_heads
        if config.relations:
            _check_attention(student, "The student")
            _check_heads("the student", student, -1, self._heads)
        has_map = bool(config.hidden) and student.dim != teacher.dim
        self.projection = nn.Linear(student.dim, teacher.dim) if has_map else None

    def forward(self, student: EncoderStates, teacher: EncoderStates, valid: Tensor) -> Tensor:
        """Return each term, summed over the tokens of a text, (B, terms), in the order of `weights`."""
        terms = []
        with torch.autocast(valid.device.type, enabled=False):
            if "hidden" in self.weights:
                states = student.hidden.float()
                mapped = states if self.projection is None else self.projection(states)
                cosine = F.cosine_similarity(mapped, teacher.hidden.float(), dim=-1)
                terms.append(((1 - cosine) * valid).sum(dim=1))
            if "relations" in self.weights:
                divergence = torch.zeros((), device=valid.device)
                for own, target in zip(student[1:], teacher[1:], strict=True):
                    assert own is not None and target is not None  # noqa: PT018, S101 - both encoders have a layer
                    divergence = divergence + relation_divergence(own, target, valid, self._heads)
                terms.append(divergence)
        return torch.stack(terms, dim=1)


def relation_divergence(student: Tensor, teacher: Tensor, valid: Tensor, heads: int) -> Tensor:
    """Return the Kullback-Leibler divergence of the student's relations from the teacher's, summed over tokens, (B,).

    The relation of a token is the distribution of its scaled dot products with all valid tokens (equations 4 to 7 of
    the paper). It is averaged over the heads.

    Args:
        student: Queries, keys or values of the student, (B, T, d).
        teacher: Those of the teacher, (B, T, d'); the widths may differ.
        valid: Which tokens are no padding, (B, T) bool.
        heads: Number of relation heads, which divides both widths.
    """
    target, own = (_log_relations(vectors.float(), valid, heads) for vectors in (teacher, student))
    per_token = (target.exp() * (target - own)).sum(dim=-1).mean(dim=1)
    return (per_token * valid).sum(dim=1)


def _log_relations(vectors: Tensor, valid: Tensor, heads: int) -> Tensor:
    """Return the logarithm of the relations, (B, heads, T, T)."""
    batch, length, width = vectors.shape
    split = vectors.view(batch, length, heads, width // heads).transpose(1, 2)
    scores = split @ split.transpose(2, 3) / (width // heads) ** 0.5
    return F.log_softmax(scores - _UNATTENDED * ~valid[:, None, None, :], dim=-1)


def encode_with_states(
    text_encoder: TransformerTextEncoder, ids: Tensor, valid: Tensor, layer: int | None
) -> EncoderStates:
    """Return the last hidden states of an encoder, and the queries, keys and values of a layer.

    Args:
        text_encoder: The encoder.
        ids: Token ids, (B, T) int64.
        valid: Which tokens are no padding, (B, T) bool.
        layer: Index of the layer; -1 is the last one, None leaves out queries, keys and values.
    """
    if layer is None:
        return EncoderStates(text_encoder(ids, valid))
    with _captured(_attention(text_encoder, layer)) as captured:
        hidden = text_encoder(ids, valid)
    return EncoderStates(hidden, *(captured[name] for name in _PROJECTIONS))


@contextmanager
def _captured(attention: Any) -> Iterator[dict[str, Tensor]]:
    """Yield the outputs of the projections of a self-attention, filled when the encoder runs."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for name in _PROJECTIONS:

            def keep(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
                outputs[name] = output

            stack.callback(getattr(attention, name).register_forward_hook(keep).remove)
        yield outputs


def _attention(text_encoder: TransformerTextEncoder, layer: int) -> Any:
    """Return the self-attention of a layer, or None if it is not built like BERT's."""
    attention = getattr(getattr(text_encoder.encoder.encoder.layer[layer], "attention", None), "self", None)
    has_all = all(isinstance(getattr(attention, name, None), nn.Linear) for name in _PROJECTIONS)
    return attention if has_all else None


def _check_attention(text_encoder: TransformerTextEncoder, name: str) -> None:
    if _attention(text_encoder, -1) is None:
        raise UsageError(
            f"{name} has no attention.self with query, key and value, which text.intermediate.relations needs. Set it "
            "to 0."
        )


def _check_heads(name: str, text_encoder: TransformerTextEncoder, layer: int, heads: int) -> None:
    """Check that the relation heads divide the width of a layer's queries, which pruning may have reduced."""
    width = int(_attention(text_encoder, layer).query.out_features)
    if width % heads:
        raise UsageError(
            f"text.intermediate.relation_heads must divide the width of {name}'s attention, {width}, got {heads}. Set "
            "another one."
        )


def check_same_tokens(teacher: TextInput, student: TextInput, texts: Sequence[str], name: str) -> None:
    """Check that a teacher and a student split texts into the same tokens.

    Args:
        teacher: Text input of the teacher.
        student: Text input of the student, whose token limit is used.
        texts: Training texts.
        name: Name of the teacher in the error message.

    Raises:
        UsageError: A text has other token ids, or the vocabularies differ.
    """
    limit = student.tokenizer.max_tokens
    tokenizer = dataclasses.replace(teacher.tokenizer, max_tokens=limit)
    is_same = tokenizer.vocabulary == student.tokenizer.vocabulary and all(
        np.array_equal(first, second)
        for first, second in zip(tokenizer.ids(texts), student.tokenizer.ids(texts), strict=True)
    )
    if not is_same:
        raise UsageError(
            f"text.intermediate needs a first teacher with the tokens of the student, but {name} splits texts "
            "differently. Pass another teacher first, or set text.intermediate.hidden and relations to 0."
        )
    encoder = teacher.text_encoder
    if isinstance(encoder, TransformerTextEncoder) and encoder.max_tokens < limit:
        raise UsageError(
            f"text.max_tokens must be at most {encoder.max_tokens}, the limit of {name}, for text.intermediate, got "
            f"{limit}. Set it."
        )
