"""Put the results of segments together, in the order of their table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import SPLITS, Dataset
from edge_msa.data.extraction.segment_job import SegmentResult
from edge_msa.data.extraction.table import Segment
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import Task
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.frames import RawFrames, RawSplit

Sample = tuple[Segment, SegmentResult]


def build_segment_dataset(
    name: str,
    task: Task,
    samples: Sequence[Sample],
    *,
    options: LoadOptions,
    features: Mapping[str, FeatureSource],
    notes: Sequence[str] = (),
) -> Dataset:
    """Return the dataset of segments, padded and with masks. Its digest is empty.

    Args:
        name: Name of the corpus.
        task: What the labels mean.
        samples: Segments and results.
        options: Whether labels are clipped.
        features: What computed the frames.
        notes: The first notes of the dataset.

    Raises:
        DataError: There is no sample, or no sample of a split has a frame or a word.
    """
    dims = {
        modality: frames.shape[1]
        for _, result in samples
        for modality, frames in result.frames.items()
        if result.valid[modality].any()
    }
    has_texts = any(segment.text for segment, _ in samples)
    raw = {
        split: _raw_split(members, dims, task, has_texts=has_texts)
        for split in SPLITS
        if (members := [sample for sample in samples if sample[0].split == split])
    }
    options = LoadOptions(task, options.clip_labels, labels=any(segment.label for segment, _ in samples))
    return assemble(name, task, raw, digest="", options=options, features=features, notes=notes)


def _raw_split(members: Sequence[Sample], dims: Mapping[str, int], task: Task, *, has_texts: bool) -> RawSplit:
    labels = np.array([segment.label for segment, _ in members])
    return RawSplit(
        ids=[segment.id for segment, _ in members],
        labels=labels if labels.size else None,
        modalities={name: _pad(name, dim, [result for _, result in members]) for name, dim in dims.items()},
        groups=[segment.video for segment, _ in members],
        texts=[segment.text for segment, _ in members] if has_texts else (),
        positions=[segment.position for segment, _ in members],
        class_names=task.labels if task.kind == "classes" else (),
    )


def _pad(modality: str, dim: int, results: Sequence[SegmentResult]) -> RawFrames:
    """Return the frames of all samples, padded at the end. Samples without the modality have no valid frame."""
    length = max(1, *(len(result.frames.get(modality, ())) for result in results))
    values = np.zeros((len(results), length, dim), np.float32)
    valid: NDArray[np.bool_] = np.zeros((len(results), length), np.bool_)
    for row, result in enumerate(results):
        if modality in result.frames:
            count = len(result.frames[modality])
            values[row, :count] = result.frames[modality]
            valid[row, :count] = result.valid[modality]
    return RawFrames(values, valid=valid)
