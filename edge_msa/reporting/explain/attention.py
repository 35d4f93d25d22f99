"""Attention of a model over the frames of a sample, and averages over a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import BoolArray, FloatArray, Frames, Split
from edge_msa.reporting.explain.plots import Panel, attention_plot
from edge_msa.reporting.explain.samples import Rows, aligned_words
from edge_msa.reporting.templates import Table

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
class AttentionFigure:
    """Heat maps of one sample as SVG ("" if there are none), and notes on omitted modalities."""

    svg: str
    notes: tuple[str, ...]


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


def almt_figure(frames: Arrays, guided: Arrays, split: Split, row: int, index: int) -> AttentionFigure:
    """Draw ALMT's attention on one sample: language over its own frames, and language over audio and vision.

    Args:
        frames: Embedding weights by modality, (n, heads, tokens, tokens + T).
        guided: AHL's weights of audio and vision, (n, scales, heads, tokens, tokens). Empty without AHL.
        split: The split before normalization.
        row: Row of the sample in the split.
        index: Index of the sample in the arrays.
    """
    rows: list[list[Panel]] = []
    notes: list[str] = []
    for name, embedding in frames.items():
        mask = _mask(split, name, row, embedding.shape[3] - embedding.shape[2])
        columns = f"{name} frame"
        if (note := _omission_note(name, int(mask.sum()))) is not None:
            notes.append(note)
        elif name not in guided:
            attention = embedding_attention(embedding[index], mask)
            title = f"{name} tokens over {name} frames ({_format_shares(attention)})"
            words = _column_words(split, name, row, mask)
            rows.append([Panel(title, f"{name} token", columns, attention.weights, words)])
        else:
            scales = guided_attention(guided[name][index], embedding[index], mask)
            rows.append(
                [
                    Panel(
                        f"{name}, scale {scale}\n{_format_shares(attention)}",
                        "language token",
                        columns,
                        attention.weights,
                    )
                    for scale, attention in enumerate(scales, 1)
                ]
            )
    return AttentionFigure(attention_plot(rows, f"sample{index}") if rows else "", tuple(notes))


def masked_figure(
    frames: Arrays, split: Split, row: int, index: int, *, row_name: str, attends_gaps: bool
) -> AttentionFigure:
    """Draw the attention of HRLF or a student on one sample.

    Args:
        frames: Weights by modality, (n, rows, T).
        split: The split before normalization.
        row: Row of the sample in the split.
        index: Index of the sample in the arrays.
        row_name: What a row of the weights is: a head or a token.
        attends_gaps: Whether the model attends to missing frames between valid ones.
    """
    rows: list[list[Panel]] = []
    notes: list[str] = []
    for name, weights in frames.items():
        mask = _mask(split, name, row, weights.shape[2])
        if (note := _omission_note(name, int(mask.sum()))) is not None:
            notes.append(note)
            continue
        attention = masked_attention(weights[index], mask, attends_gaps=attends_gaps)
        gaps = f" ({100 * attention.padding:.0f} % to missing frames between them)" if attention.padding > 0.005 else ""
        words = _column_words(split, name, row, mask)
        rows.append([Panel(f"{name} frames{gaps}", row_name, f"{name} frame", attention.weights, words)])
    return AttentionFigure(attention_plot(rows, f"sample{index}") if rows else "", tuple(notes))


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


def embedding_shares_table(shares: list[EmbeddingShares]) -> Table:
    """Return the mean shares next to those of uniform attention."""
    header = (
        "modality",
        "frames %",
        "learned tokens %",
        "padding %",
        "uniform: frames %",
        "uniform: learned tokens %",
        "uniform: padding %",
    )
    rows = [
        [item.modality, *(f"{100 * part:.0f}" for part in (item.frames, item.learned, item.padding, *item.uniform))]
        for item in shares
    ]
    return Table(header, rows)


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


def _column_words(split: Split, name: str, row: int, mask: BoolArray) -> tuple[str, ...]:
    """Return one word per column of a language heat map, or none if words and frames are not aligned."""
    words = aligned_words(split, row) if name == "language" else ()
    return words if len(words) == mask.sum() and mask[: len(words)].all() else ()


def _omission_note(name: str, valid_frames: int) -> str | None:
    if not valid_frames:
        return f"This sample has no {name}."
    return f"This sample has a single {name} frame, so all attention goes to it." if valid_frames == 1 else None


def _format_shares(attention: FrameAttention) -> str:
    shares = {"frames": attention.frames, "learned": attention.learned, "padding": attention.padding}
    return ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items())
