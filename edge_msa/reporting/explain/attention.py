"""Attention of a model over the frames of a sample, and averages over a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.reporting.explain.samples import Rows

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class FrameAttention:
    """How rows (tokens or heads) distribute their attention over one modality of one sample.

    Attributes:
        weights: (rows, frames), up to the last valid frame. 1 is uniform attention over all positions.
        frames: Share of all attention that goes to valid frames.
        learned: Share that goes to the learned tokens of ALMT's embedding.
        padding: Share that goes to positions without a valid frame. The three shares add up to 1.
    """

    weights: FloatArray
    frames: float
    learned: float
    padding: float


@dataclass(frozen=True)
class EmbeddingShares:
    """Where the attention of a modality's embedding goes, on average over samples.

    Attributes:
        modality: The modality.
        frames: Share that goes to valid frames.
        learned: Share that goes to learned tokens.
        padding: Share that goes to positions without a valid frame.
        uniform: The three shares of uniform attention.
    """

    modality: str
    frames: float
    learned: float
    padding: float
    uniform: tuple[float, float, float]


@dataclass(frozen=True)
class AttentionKind:
    """How a model attends to frames.

    Attributes:
        has_learned_tokens: Whether its attention maps include learned tokens and padding, as those of ALMT do.
        attends_gaps: Whether it attends to missing frames between valid ones.
    """

    has_learned_tokens: bool
    attends_gaps: bool


def guided_attention(
    guided: NDArray[np.float32], embedding: NDArray[np.float32], valid: BoolArray
) -> list[FrameAttention]:
    """Return the attention of language tokens over the frames of audio or vision, for each scale of ALMT.

    It is the product of AHL's weights and those of the embedding, each averaged over heads.

    Args:
        guided: AHL's weights of one sample and modality, (scales, heads, tokens, tokens).
        embedding: The embedding's weights for the same sample and modality, (heads, tokens, tokens + T).
        valid: Valid frames, (T,).
    """
    over_positions = embedding.mean(axis=0)
    return [_frame_attention(scale.mean(axis=0) @ over_positions, len(over_positions), valid) for scale in guided]


def embedding_attention(embedding: NDArray[np.float32], valid: BoolArray) -> FrameAttention:
    """Return the attention of a modality's tokens over its own frames. `guided_attention` describes the arguments."""
    over_positions = embedding.mean(axis=0)
    return _frame_attention(over_positions, len(over_positions), valid)


def masked_attention(rows: NDArray[np.float32], valid: BoolArray, *, attends_gaps: bool) -> FrameAttention:
    """Return the attention over frames of a model that does not attend to padding: HRLF or a student.

    Args:
        rows: Weights of HRLF's heads or a student's tokens, (rows, T).
        valid: Valid frames, (T,).
        attends_gaps: Whether the model attends to missing frames between valid ones. HRLF attends to them as zeros, and
            a student with gap frames to the last one of each gap.
            Their share is returned as `padding`.
    """
    positions = np.flatnonzero(valid)
    attended = int(positions[-1] + 1 - positions[0]) if attends_gaps else len(positions)
    attention = _frame_attention(rows, 0, valid)
    weights = (attention.weights / len(valid) * attended).astype(np.float32)
    return FrameAttention(weights, attention.frames, 0.0, attention.padding)


def resize_mask(valid: BoolArray, length: int) -> BoolArray:
    """Return a mask of another length: cut at the end, or padded with False."""
    mask = np.zeros(length, np.bool_)
    mask[: min(length, len(valid))] = valid[:length]
    return mask


def attention_over_frames(
    frames: Arrays, guided: Arrays, split: Split, row: int, index: int, kind: AttentionKind
) -> dict[str, FrameAttention]:
    """Return the attention over the frames of each modality that a sample has, as one row: the mean of all rows.

    Rows are heads or tokens. For audio and vision of ALMT with AHL, they are the language tokens at all scales.

    Args:
        frames: By modality, the embedding weights of ALMT (n, heads, tokens, tokens + T), or the weights of HRLF or a
            student, (n, rows, T).
        guided: AHL's weights of audio and vision, (n, scales, heads, tokens, tokens). Empty without AHL.
        split: The split before normalization.
        row: Row of the sample in the split.
        index: Index of the sample in the arrays.
        kind: How the model attends.
    """
    results = {}
    for name, weights in frames.items():
        length = weights.shape[3] - weights.shape[2] if kind.has_learned_tokens else weights.shape[2]
        mask = _mask(split, name, row, length)
        if not mask.any():
            continue
        if not kind.has_learned_tokens:
            parts = [masked_attention(weights[index], mask, attends_gaps=kind.attends_gaps)]
        elif name in guided:
            parts = guided_attention(guided[name][index], weights[index], mask)
        else:
            parts = [embedding_attention(weights[index], mask)]
        mean = np.mean([part.weights.mean(axis=0, keepdims=True) for part in parts], axis=0).astype(np.float32)
        shares = (
            float(np.mean([getattr(part, share) for part in parts])) for share in ("frames", "learned", "padding")
        )
        results[name] = FrameAttention(mean, *shares)
    return results


def format_shares(attention: FrameAttention) -> str:
    """Return the shares of frames, learned tokens and padding as text."""
    shares = {"frames": attention.frames, "learned tokens": attention.learned, "padding": attention.padding}
    return ", ".join(f"{100 * share:.0f} % to {name}" for name, share in shares.items())


def mean_guided_weights(guided: Arrays, split: Split, rows: Rows) -> Arrays:
    """Return AHL's weights averaged over heads and samples, (scales, tokens, tokens). 1 is uniform attention.

    Only samples that have the modality count. A modality that no sample has is left out.
    """
    means: dict[str, FloatArray] = {}
    for name, weights in guided.items():
        if name in split.modalities and (has := split.modalities[name].valid[rows].any(axis=1)).any():
            means[name] = (weights[has].mean(axis=(0, 2)) * weights.shape[-1]).astype(np.float32)
    return means


def mean_embedding_shares(
    embedding: Arrays, frames: Mapping[str, Frames], rows: Sequence[int]
) -> list[EmbeddingShares]:
    """Return where the attention of ALMT's embeddings goes, averaged over the samples that have the modality.

    Args:
        embedding: Embedding weights by modality, (N, heads, tokens, tokens + T).
        frames: Frames of the split by modality.
        rows: Row of each of the N samples in the split.
    """
    results = []
    for name, weights in embedding.items():
        if name not in frames:
            continue
        tokens, positions = weights.shape[2:]
        masks = [resize_mask(frames[name].valid[row], positions - tokens) for row in rows]
        attentions = [
            (embedding_attention(sample_weights, mask), int(mask.sum()))
            for sample_weights, mask in zip(weights, masks, strict=True)
            if mask.any()
        ]
        if not attentions:
            continue
        mean = {
            part: float(np.mean([getattr(attention, part) for attention, _ in attentions]))
            for part in ("frames", "learned", "padding")
        }
        valid = float(np.mean([count for _, count in attentions])) / positions
        learned = tokens / positions
        uniform = (valid, learned, 1.0 - valid - learned)
        results.append(EmbeddingShares(name, mean["frames"], mean["learned"], mean["padding"], uniform))
    return results


def _frame_attention(rows: NDArray[np.float32], tokens: int, valid: BoolArray) -> FrameAttention:
    """Return the attention of rows over `tokens` learned tokens followed by T positions."""
    over_frames = rows[:, tokens:]
    total = float(rows.sum())
    frames = float(over_frames[:, valid].sum()) / total
    learned = float(rows[:, :tokens].sum()) / total
    end = int(np.flatnonzero(valid)[-1]) + 1 if valid.any() else 0
    return FrameAttention(over_frames[:, :end] * rows.shape[1], frames, learned, max(0.0, 1.0 - frames - learned))


def _mask(split: Split, name: str, row: int, length: int) -> BoolArray:
    frames = split.modalities.get(name)
    return np.zeros(length, np.bool_) if frames is None else resize_mask(frames.valid[row], length)
