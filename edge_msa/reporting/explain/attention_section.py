"""Attention in pictures, tables and words, sample by sample and on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_msa.data.dataset import FloatArray, Split
from edge_msa.reporting.explain.attention import (
    Arrays,
    AttendedFrames,
    Share,
    embedding_spread,
    fitted_mask,
    frame_spread,
    guided_spreads,
)
from edge_msa.reporting.explain.plots import Panel, spreads_picture
from edge_msa.reporting.explain.samples import words_of
from edge_msa.reporting.templates import Table


@dataclass(frozen=True)
class SamplePicture:
    """The heat maps of one sample as SVG ("" where none says anything), and notes on what is not in them."""

    svg: str
    notes: tuple[str, ...]


def almt_sample(frames: Arrays, guided: Arrays, split: Split, row: int, at: int) -> SamplePicture:
    """TextTokenizer over language's tokens, and language over the frames of audio and vision, of sample `row`.

    Args:
        frames: embeddings' weights (n, heads, tokens, tokens + T) by modality.
        guided: AHL's weights (n, scales, heads, tokens, tokens) of audio and vision.
        split: raw.
        row: of the split.
        at: the same sample's place in the arrays.
    """
    rows: list[list[Panel]] = []
    notes: list[str] = []
    for name, embedding in frames.items():
        mask = _mask(split, name, row, embedding.shape[3] - embedding.shape[2])
        if (note := _says_nothing(name, int(mask.sum()))) is not None:
            notes.append(note)
        elif name not in guided:
            spread = embedding_spread(embedding[at], mask)
            words = _words(split, name, row, mask)
            title = f"{name}: what its tokens are made of ({_shares(spread)})"
            rows.append([Panel(title, f"{name} token", f"{name} frame (number)", spread, words)])
        else:
            spreads = guided_spreads(guided[name][at], embedding[at], mask)
            rows.append(
                [
                    Panel(f"{name}, scale {scale}\n{_shares(one)}", "language token", f"{name} frame (number)", one)
                    for scale, one in enumerate(spreads, 1)
                ]
            )
    return SamplePicture(spreads_picture(rows, f"sample{at}") if rows else "", tuple(notes))


def frames_sample(frames: Arrays, split: Split, row: int, at: int, *, rows_are: str, gaps: bool) -> SamplePicture:
    """Rows over frames of sample `row`, the weights (n, rows, T) by modality.

    Args:
        frames: HRLF's last frame over all frames, `rows_are` heads; or a student's pooling, `rows_are` tokens.
        split: raw.
        row: of the split.
        at: the same sample's place in the arrays.
        rows_are: what a row is called.
        gaps: whether frames missing in between are attended.
    """
    rows: list[list[Panel]] = []
    notes: list[str] = []
    for name, heads in frames.items():
        mask = _mask(split, name, row, heads.shape[2])
        if (note := _says_nothing(name, int(mask.sum()))) is not None:
            notes.append(note)
            continue
        spread = frame_spread(heads[at], mask, gaps=gaps)
        words = _words(split, name, row, mask)
        missing = f", {100 * spread.padding:.0f} % to frames missing in between" if spread.padding > 0.005 else ""
        rows.append([Panel(f"{name}{missing}", rows_are, f"{name} frame (number)", spread, words)])
    return SamplePicture(spreads_picture(rows, f"sample{at}") if rows else "", tuple(notes))


def guided_means(guided: Arrays, split: Split, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Arrays:
    """AHL's weights (scales, tokens, tokens) in multiples of an even share, averaged over heads and the samples.

    Of the samples that have the modality; one that none of them has is left out.
    """
    found: dict[str, FloatArray] = {}
    for name, weights in guided.items():
        if name in split.modalities and (has := split.modalities[name].valid[rows].any(axis=1)).any():
            found[name] = (weights[has].mean(axis=(0, 2)) * weights.shape[-1]).astype(np.float32)
    return found


def shares_table(shares: list[Share]) -> Table:
    """Where embeddings look on average, beside what an even spread over all positions would give."""
    header = ("modality", "frames %", "learned tokens %", "padding %", "even spread: frames %", "tokens %", "padding %")
    rows = [
        [item.modality, *(f"{100 * part:.0f}" for part in (item.frames, item.learned, item.padding, *item.even))]
        for item in shares
    ]
    return Table(header, rows)


def _mask(split: Split, name: str, row: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    frames = split.modalities.get(name)
    return np.zeros(length, np.bool_) if frames is None else fitted_mask(frames.valid[row], length)


def _words(split: Split, name: str, row: int, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[str, ...]:
    """One for each column, where frames start at the first and have no gap; else none."""
    words = words_of(split, row) if name == "language" else ()
    return words if len(words) == mask.sum() and mask[: len(words)].all() else ()


def _says_nothing(name: str, count: int) -> str | None:
    if not count:
        return f"This sample lacks {name}."
    return f"Of {name} this sample has a single frame: there is nothing to choose among." if count == 1 else None


def _shares(spread: AttendedFrames) -> str:
    parts = {"frames": spread.frames, "learned": spread.learned, "padding": spread.padding}
    return ", ".join(f"{100 * part:.0f} % {name}" for name, part in parts.items())
