"""Draw splits at random. All samples of a video are in the same split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.errors import DataError

_SHARE = 0.15


def draw_splits(
    videos: Collection[str], *, held_out: Sequence[SplitName] = ("valid", "test"), seed: int = 0
) -> dict[str, SplitName]:
    """Return the split of each video: 15 % of the videos, at least one, in each split that is held out.

    Args:
        videos: Names of the videos. There must be more of them than splits that are held out.
        held_out: The splits to draw. The other videos are in `train`.
        seed: Seed of the draw.
    """
    names = sorted(set(videos))
    order = np.random.default_rng(seed).permutation(len(names))
    count = max(1, round(_SHARE * len(names)))
    split_of: dict[str, SplitName] = dict.fromkeys(names, "train")
    for index, split in enumerate(held_out):
        split_of |= {names[row]: split for row in order[index * count : (index + 1) * count]}
    return split_of


def draw_missing_splits(dataset: Dataset, *, seed: int = 0) -> Dataset:
    """Return the dataset with the splits valid and test; those that it lacks are drawn from the training videos.

    Raises:
        DataError: It has no training samples, or too few videos.
    """
    missing: list[SplitName] = [name for name in SPLITS if name not in dataset.splits or not len(dataset.splits[name])]
    train = dataset.split("train")
    count = len(set(train.groups))
    if count <= len(missing):
        raise DataError(
            f"The train split of {dataset.name} must have at least {len(missing) + 1} videos to draw "
            f"{' and '.join(missing)} from, got {count}. Pass data with more videos."
        )
    split_of = draw_splits(train.groups, held_out=missing, seed=seed)
    drawn = {
        name: train.select(np.flatnonzero([split_of[video] == name for video in train.groups]))
        for name in ("train", *missing)
    }
    splits = {name: drawn.get(name, dataset.splits.get(name)) for name in SPLITS}
    note = f"{' and '.join(missing)} drawn at random, 15 % of the {count} training videos each" if missing else ""
    notes = (*dataset.notes, *([note] if note else []))
    return replace(dataset, splits={name: split for name, split in splits.items() if split is not None}, notes=notes)


def group_together(names: Sequence[Sequence[str]]) -> list[int]:
    """Return a group for each sample, so that samples that share a name are in the same group, directly or by others.

    Args:
        names: Names of each sample, such as its video and its speaker. An empty text is no name. A video and a speaker
            of the same name are different if they are at different places.

    Returns:
        Numbers from 0, in the order in which the groups occur.
    """
    parents = list(range(len(names)))

    def root(sample: int) -> int:
        while parents[sample] != sample:
            parents[sample] = parents[parents[sample]]
            sample = parents[sample]
        return sample

    first: dict[tuple[int, str], int] = {}
    for sample, stated in enumerate(names):
        for place, name in enumerate(stated):
            if name:
                parents[root(sample)] = root(first.setdefault((place, name), sample))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(sample), len(numbers)) for sample in range(len(names))]
