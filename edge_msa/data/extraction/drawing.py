"""Draw the splits of a table of labels, before anything is decoded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edge_msa.data.dataset import SPLITS
from edge_msa.data.extraction.table import LabelTable
from edge_msa.data.splitting import draw_splits, group_together
from edge_msa.errors import DataError


def draw_segment_splits(table: LabelTable, path: Path, seed: int) -> LabelTable:
    """Return the table with the splits valid and test; those that it lacks are drawn from the training segments.

    Neither a video nor a speaker is in two of the splits that are drawn.

    Args:
        table: The table of labels.
        path: Its file, for messages.
        seed: Seed of the draw.

    Raises:
        DataError: There are too few videos or speakers.
    """
    present = {segment.split for segment in table.segments}
    missing = [name for name in SPLITS[1:] if name not in present]
    if not missing:
        return table
    train = [index for index, segment in enumerate(table.segments) if segment.split == "train"]
    groups = group_together([(table.segments[index].video, table.segments[index].speaker) for index in train])
    names = [f"{group:09}" for group in groups]
    by_speaker = any(table.segments[index].speaker for index in train)
    unit = "groups of speakers and videos" if by_speaker else "videos"
    count = len(set(names))
    if count <= len(missing):
        advice = "Omit the column `speaker` to draw by video only, or add" if by_speaker else "Add"
        raise DataError(
            f"The training lines of {path} must be from at least {len(missing) + 1} {unit} that share nothing to draw "
            f"{' and '.join(missing)} from, got {count}. {advice} a column `split`."
        )
    split_of = draw_splits(names, held_out=missing, seed=seed)
    segments = list(table.segments)
    for index, name in zip(train, names, strict=True):
        segments[index] = replace(segments[index], split=split_of[name])
    note = f"{' and '.join(missing)} drawn at random, 15 % of the {count} {unit} each"
    return replace(table, segments=tuple(segments), has_splits=True, notes=(*table.notes, note))
