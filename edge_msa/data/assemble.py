"""Build a Dataset from the arrays of a file: masks, non-finite values, labels, ids, texts and sizes.

All loaders of feature files call `assemble`, so every format follows the same rules. `edge_msa_runtime.inputs.frames`
describes the rules for padding and for values that are not finite. The others are:

- **Repeated ids** within a split become `id#2`, `id#3` and so on, with a note.
- **Missing texts** (None, NaN) are empty, and a note counts the empty texts.
- **Labels**: see `edge_msa.data.labels`, and `edge_msa.data.classes` for the task `classes`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from edge_msa.data.classes import describe_absent, describe_case, index_classes
from edge_msa.data.dataset import SPLITS, Dataset, Frames, Split, SplitName
from edge_msa.data.identifiers import is_missing, text_from_item
from edge_msa.data.labels import convert_labels
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import Task
from edge_msa.errors import DataError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.inputs.conversations import earlier_texts
from edge_msa_runtime.inputs.frames import RawSplit, build_frames
from edge_msa_runtime.inputs.sample_ids import make_unique, position_from_id, video_from_id
from edge_msa_runtime.modalities import MODALITIES
from edge_msa_runtime.wording import format_count, format_part


def assemble(
    name: str,
    task: Task,
    raw: Mapping[SplitName, RawSplit],
    *,
    digest: str,
    options: LoadOptions | None = None,
    features: Mapping[str, FeatureSource] | None = None,
    notes: Iterable[str] = (),
) -> Dataset:
    """Check the splits and return them as a dataset. Its notes start with `notes`.

    Splits without frames must have texts. What `features` says about modalities that no split has is left out.

    Raises:
        DataError: A split is empty, sizes disagree, a label is outside the task's range, or a shape is wrong.
        UsageError: The labels do not fit the task.
    """
    if not raw:
        raise DataError(f"{name} must have at least one of the splits {', '.join(SPLITS)}, got none.")
    all_notes = list(notes)
    options = options or LoadOptions()
    if task.kind == "classes" and options.labels:
        if options.task is None or not options.task.labels:
            all_notes += [f"the task is {task.option}", *describe_case(task)]
        raw = index_classes(task, raw, all_notes)
    splits = {split: _assemble_split(split, raw[split], task, options, all_notes) for split in SPLITS if split in raw}
    if task.kind == "classes" and "train" in splits:
        all_notes += describe_absent(task, splits["train"].labels)
    unlabeled = [name for name, split in splits.items() if np.isnan(split.labels).all()] if options.labels else []
    if unlabeled:
        all_notes.append(f"no labels in {', '.join(unlabeled)}: use predict, or distill --transfer")
    _check_dims(splits)
    all_notes += _shared_groups(splits)
    dataset = Dataset(name, task, splits, digest, {}, tuple(all_notes), options.clip_labels)
    return dataclasses.replace(dataset, features=_check_features(features or {}, dataset))


def _assemble_split(name: SplitName, raw: RawSplit, task: Task, options: LoadOptions, all_notes: list[str]) -> Split:
    if not len(raw.ids):
        raise DataError(f"The {name} split is empty. Pass a file with samples in it.")
    ids = tuple(make_unique(raw.ids))
    repeats = sum(name != stated for name, stated in zip(ids, raw.ids, strict=True))
    if repeats:
        samples = "1 sample repeats an id and is" if repeats == 1 else f"{repeats} samples repeat an id and are"
        all_notes.append(f"{name}: {samples} renamed to id#2, id#3 and so on")
    groups = [video_from_id(sample) for sample in raw.ids] if raw.groups is None else raw.groups
    labels, notes = convert_labels(raw.labels if options.labels else None, task, name, ids, clip=options.clip_labels)
    all_notes += notes
    texts, notes = clean_texts(raw.texts, name)
    all_notes += notes
    modalities: dict[str, Frames] = {}
    for modality in MODALITIES:
        if modality in raw.modalities:
            masked, notes = build_frames(raw.modalities[modality], name, modality, len(ids))
            modalities[modality] = Frames(masked.valid, masked.values, masked.ids, masked.table)
            all_notes += notes
    if not modalities and not texts:
        raise DataError(f"The {name} split must have at least one of {', '.join(MODALITIES)}, got none.")
    masks = [frames.valid.any(axis=1) for frames in modalities.values()]
    empty = len(ids) - int(np.any(masks, axis=0).sum()) if masks else 0
    if empty:
        all_notes.append(
            f"{name}: {format_part(empty, len(ids), 'sample', 'has', 'have')} no valid frame of any modality"
        )
    positions = _positions(raw, groups)
    split = Split(ids, tuple(groups), labels, modalities, texts, positions)  # checks that all have the same samples
    if not texts:
        return split
    earlier = earlier_texts(texts, groups, positions or (math.nan,) * len(ids))
    return dataclasses.replace(split, earlier=earlier)


def _positions(raw: RawSplit, groups: Sequence[str]) -> tuple[float, ...]:
    """Return the position of each sample inside its video; nothing if none is known."""
    stated = raw.positions
    if stated is None:
        stated = [position_from_id(sample, video) for sample, video in zip(raw.ids, groups, strict=False)]
    return tuple(stated) if np.isfinite(stated).any() else ()


def clean_texts(texts: Sequence[Any], split: str) -> tuple[tuple[str, ...], list[str]]:
    """Return transcripts with empty text for those that are missing, and a note that counts the empty ones.

    None and NaN stand for a missing text. The word "nan" is a word.
    """
    clean = tuple("" if is_missing(text) else text_from_item(text) for text in texts)
    empty = sum(not text.strip() for text in clean)
    return clean, (
        [f"{split}: {format_part(empty, len(clean), 'text', 'is', 'are')} missing or empty"] if empty else []
    )


def _check_dims(splits: Mapping[SplitName, Split]) -> None:
    first: dict[str, tuple[SplitName, int]] = {}
    for name, split in splits.items():
        for modality, frames in split.modalities.items():
            where, dim = first.setdefault(modality, (name, frames.dim))
            if frames.dim != dim:
                raise DataError(f"{modality} must have {dim} features in {name}, as in {where}, got {frames.dim}.")


def _check_features(features: Mapping[str, FeatureSource], dataset: Dataset) -> dict[str, FeatureSource]:
    dims = dataset.dims
    known = {name: source for name, source in features.items() if name in dims and not source.is_empty}
    for name, source in known.items():
        try:
            source.check_width(dims[name], name)
        except ValueError as error:
            raise DataError(f"The description of features in {dataset.name} is wrong: {error}. Correct it.") from None
    return known


def _shared_groups(splits: Mapping[SplitName, Split]) -> list[str]:
    """Return a note for every pair of splits that share videos, because samples of one video are not independent."""
    names = list(splits)
    notes = []
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            shared = set(splits[one].groups) & set(splits[other].groups)
            if shared:
                videos = f"{format_count(len(shared), 'video')} {'is' if len(shared) == 1 else 'are'}"
                notes.append(f"{videos} in both {one} and {other}: their samples are not independent")
    return notes
