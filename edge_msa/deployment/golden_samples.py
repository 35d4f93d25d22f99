"""Choose the golden samples of a bundle: real samples that verify every subset of modalities on the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_msa.data.dataset import Dataset, Split
from edge_msa.errors import DataError
from edge_msa_export.request import GoldenSample
from edge_msa_runtime.modalities import Subset, subsets_of


def choose_golden_samples(
    dataset: Dataset, modalities: Mapping[str, int], *, text_input: bool = False
) -> list[GoldenSample]:
    """Return one sample per subset: the longest validation sample that has all modalities of the subset.

    If no sample has all of them, the golden sample combines modalities of several samples, because every subset must be
    verified on the device. If the validation split lacks a modality of the model, all golden samples come from the
    training split. Text encoders that read earlier utterances get none.

    Args:
        dataset: The data, not normalized.
        modalities: The model's modalities, with their features per frame.
        text_input: Whether samples with language include their text.

    Raises:
        DataError: A modality is in neither split.
    """
    split = dataset.split("valid")
    if not all(name in split.modalities and split.modalities[name].valid.any() for name in modalities):
        split = dataset.splits.get("train", split)
    split = split.without_earlier()
    samples = []
    for subset in subsets_of(modalities):
        rows = {name: _longest_row(split, subset, name) for name in subset.modalities}
        text = split.texts[rows["language"]] if text_input and "language" in rows else None
        samples.append(GoldenSample(subset, {name: split.sample(row)[name] for name, row in rows.items()}, text))
    return samples


def _longest_row(split: Split, subset: Subset, modality: str) -> int:
    """Return the row of the sample that provides one modality of a subset."""
    frames = split.modalities.get(modality)
    if frames is None or not frames.valid.any():
        raise DataError(
            f"The model needs {modality}, but neither the validation nor the training split has it. Pass --data with "
            f"{modality}."
        )
    lengths = {name: split.modalities[name].lengths for name in subset.modalities if name in split.modalities}
    has_all = np.all([length > 0 for length in lengths.values()], axis=0)
    total = np.sum(list(lengths.values()), axis=0)
    return int(np.argmax(np.where(has_all, total, 0) if has_all.any() else lengths[modality]))
