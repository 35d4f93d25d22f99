"""The samples that calibration runs through a student's graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from edge_msa.console import report_progress
from edge_msa.data.dataset import Dataset, FloatArray, SplitName
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.training.text.encode_dataset import encoder_inputs
from edge_msa_calibrate.collect import Sample
from edge_msa_export.text import ExportableText, TextGraph
from edge_msa_runtime.modalities import subsets_of

_REPORTED = 16
"""Number of samples between two progress reports."""
SAMPLES_PER_TEXT = 4
"""Samples per text: fewer texts than samples are drawn, because text encoders are slow."""


def draw_calibration_samples(
    dataset: Dataset,
    text: ExportableText | None,
    max_tokens: int,
    gap_frames: Mapping[str, FloatArray],
    *,
    num_samples: int,
    seed: int,
    split_name: SplitName = "train",
) -> Iterator[Sample]:
    """Yield samples for a student: its frames, then token ids for its text encoder if it has one.

    Args:
        dataset: The data, not normalized.
        text: The student's text encoder, or None if it has none.
        max_tokens: Longest input of the text encoder.
        gap_frames: The student's gap frames (d,), not normalized, by modality.
        num_samples: Number of samples. For a text encoder, a quarter as many texts are drawn.
        seed: Seed of the draw.
        split_name: The split to draw from.
    """
    split = dataset.split(split_name)
    total = min(num_samples, len(split))
    frames = draw_frames(dataset, gap_frames, num_samples, seed, split_name)
    yield from _reported(frames, total, f"{split_name} samples")
    if isinstance(text, TextGraph):
        rows = np.random.default_rng(seed).permutation(len(split))[: -(-num_samples // SAMPLES_PER_TEXT)]
        tokenizer = TextTokenizer(text.tokenizer, text.max_tokens, special=True, context=text.context)
        drawn = split.select(rows)
        texts = encoder_inputs(tokenizer, drawn.texts, drawn.earlier, max_tokens)
        yield from _reported(texts, len(rows), f"{split_name} texts")


def _reported(samples: Iterable[Sample], total: int, what: str) -> Iterator[Sample]:
    """Yield samples and report how many have been used."""
    for done, sample in enumerate(samples):
        if done % _REPORTED == 0:
            report_progress("calibrate: sample", done, total, f"Collecting statistics: {done} of {total} {what}")
        yield sample


def draw_frames(
    dataset: Dataset,
    gap_frames: Mapping[str, FloatArray],
    num_samples: int,
    seed: int,
    split_name: SplitName = "train",
) -> Iterator[Sample]:
    """Yield samples of a split in random order, each reduced to one subset of modalities, cycling through the subsets.

    A bundle must predict from every subset, so calibration uses a mix of them. Absent modalities are left out. Zeros in
    their place would shrink the ranges. A sample that lacks all modalities of its subset keeps those that it has.
    """
    split = dataset.split(split_name)
    subsets = subsets_of(split.modalities)
    rows = np.random.default_rng(seed).permutation(len(split))[:num_samples]
    for index, row in enumerate(rows):
        sample = split.packed_sample(int(row), gap_frames)
        names = [name for name in subsets[index % len(subsets)].modalities if name in sample] or list(sample)
        if names:
            yield {name: sample[name] for name in names}
