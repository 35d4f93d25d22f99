"""Public feature sets in `.npz` layouts of their own, told by the names of their arrays.

- **MOSI language and audio**: `word_ids` (N, T) into `glove` (V, 300), `lengths`, `audio` (N, d) one vector an
  utterance (a sequence of one frame), `label`, `split`, `id` (`video_clip`). It has no vision.
- **MOSI, three streams, one split**: `text`, `audio`, `vision` (N, T, d), `lengths`, `label`, `id` (`video[k]`). It is
  split here by video, about 6/2/2.
- **ICT-MMMO**: `train_audio`, `valid_text`, ... (N, T, d) and `train_label`, ...; a split may lack a modality.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble, video_of
from edge_msa.data.dataset import SPLITS, Dataset, SplitName
from edge_msa.data.labels import settle_task
from edge_msa.data.tasks import MOSI, REGRESSION, Task
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256

Arrays = dict[str, NDArray[Any]]
_NAMES = {"language": "text", "audio": "audio", "vision": "vision"}


def public_dataset(arrays: Arrays, path: Path, *, task: Task | None) -> Dataset:
    """The dataset of the layout that the arrays' names tell.

    Raises:
        DataError: no layout has these names, or the arrays do not fit together.
    """
    for names, read in _LAYOUTS:
        if names <= set(arrays):
            return read(arrays, path, task)
    have = ", ".join(sorted(arrays)[:8]) or "nothing"
    raise DataError(
        f"{path} holds {have}: neither an archive of this project (it has 'header') nor a public layout that is known; "
        "see edge_msa.data.formats.archive for the names an archive needs"
    )


def _mosi_language_audio(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    audio, glove, of_split = arrays["audio"], arrays["glove"].astype(np.float32), arrays["split"].astype(str)
    if audio.ndim != 2:
        raise DataError(f"audio of {path} has shape {audio.shape}; this layout has one vector an utterance, (N, d)")
    unknown = sorted(set(of_split) - set(SPLITS))
    if unknown:
        raise DataError(f"{path} has a split {unknown[0]!r}; there are {', '.join(SPLITS)}")
    _check_rows(arrays, ("word_ids", "lengths", "audio", "label", "split"), path)
    raw: dict[SplitName, RawSplit] = {}
    for split in SPLITS:
        rows = np.flatnonzero(of_split == split)
        ids = [str(one) for one in arrays["id"][rows]]
        language = RawFrames(ids=arrays["word_ids"][rows], table=glove, lengths=arrays["lengths"][rows])
        sound = RawFrames(values=audio[rows][:, None, :], lengths=np.ones(len(rows), np.int64))
        videos = [one.rsplit("_", maxsplit=1)[0] for one in ids]
        raw[split] = RawSplit(
            ids, arrays["label"][rows], {"language": language, "audio": sound}, videos, _texts(arrays, rows)
        )
    return assemble(path.stem, settle_task(task, MOSI, str(path)), raw, digest=file_sha256(path))


def _mosi_trimodal(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    _check_rows(arrays, ("text", "audio", "vision", "lengths", "label"), path)
    ids = np.array([str(one) for one in arrays["id"]])
    videos = np.array([video_of(one) for one in ids])
    members = split_by_group(videos.tolist())
    raw: dict[SplitName, RawSplit] = {}
    for split, names in members.items():
        rows = np.flatnonzero(np.isin(videos, names))
        modalities = {
            modality: RawFrames(values=arrays[key][rows], lengths=arrays["lengths"][rows])
            for modality, key in _NAMES.items()
        }
        raw[split] = RawSplit(
            ids[rows].tolist(), arrays["label"][rows], modalities, videos[rows].tolist(), _texts(arrays, rows)
        )
    counts = "/".join(str(len(names)) for names in members.values())
    note = f"the file has one split: its videos are divided {counts} into {'/'.join(members)}"
    return assemble(path.stem, settle_task(task, MOSI, str(path)), raw, digest=file_sha256(path), notes=[note])


def _ict_mmmo(arrays: Arrays, path: Path, task: Task | None) -> Dataset:
    raw: dict[SplitName, RawSplit] = {}
    notes = []
    for split in SPLITS:
        if f"{split}_label" not in arrays:
            continue
        labels = arrays[f"{split}_label"]
        modalities = {
            modality: RawFrames(values=arrays[f"{split}_{key}"])
            for modality, key in _NAMES.items()
            if f"{split}_{key}" in arrays
        }
        notes += [f"{split} has no {modality}" for modality in _NAMES if modality not in modalities]
        raw[split] = RawSplit([f"{split}-{row}" for row in range(labels.size)], labels, modalities)
    if task is None:
        every = np.concatenate([np.ravel(part.labels) for part in raw.values() if part.labels is not None])
        if every.size:
            notes.append(f"labels are {every.min():g} to {every.max():g}: read as plain regression")
    return assemble(path.stem, settle_task(task, REGRESSION, str(path)), raw, digest=file_sha256(path), notes=notes)


def split_by_group(groups: Sequence[str]) -> dict[SplitName, list[str]]:
    """Groups divided about 6/2/2 into train, valid, test, always the same way.

    No seed moves the division: a run trained under one seed and evaluated under another would see its test samples.

    Raises:
        DataError: there are fewer than three groups.
    """
    distinct = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    if len(distinct) < 3:
        raise DataError(f"{len(distinct)} videos cannot be divided into train, valid and test; there must be 3 or more")
    held = max(1, round(0.2 * len(distinct)))
    return {"train": distinct[2 * held :], "valid": distinct[:held], "test": distinct[held : 2 * held]}


def _texts(arrays: Arrays, rows: NDArray[np.int64]) -> list[str]:
    """What was said, where the file tells it of every sample."""
    texts = arrays.get("raw_text", np.empty(0))
    return [str(texts[row]) for row in rows] if texts.shape == arrays["id"].shape else []


def _check_rows(arrays: Arrays, names: Sequence[str], path: Path) -> None:
    count = len(arrays["id"])
    for name in names:
        if len(arrays[name]) != count:
            raise DataError(f"{name} of {path} holds {len(arrays[name])} samples, id holds {count}")


_LAYOUTS: tuple[tuple[frozenset[str], Callable[[Arrays, Path, Task | None], Dataset]], ...] = (
    (frozenset({"id", "word_ids", "glove", "lengths", "audio", "label", "split"}), _mosi_language_audio),
    (frozenset({"id", "text", "audio", "vision", "lengths", "label"}), _mosi_trimodal),
    (frozenset({"train_label", "train_audio", "train_vision"}), _ict_mmmo),
)
