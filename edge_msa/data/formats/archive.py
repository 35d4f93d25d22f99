"""The project's own feature file: an `.npz` without pickles.

Arrays, for each split that there is (`train`, `valid`, `test`) and each modality that the split has:

- `header`: one JSON string with `schema` (1), `name`, `task` (its name, or its fields), `frame_rates` in Hz, `notes`
- `train/labels` (N,) scores or (N, E) 0/1 emotions; `train/ids`, `train/groups` and `train/texts` (what was said), each
  (N,) text and optional. A split whose samples have no labels has `ids` instead
- `train/audio` (N, T, d) float32, or `train/language_ids` (N, T) integers into `language_table` (V, d), which all
  splits share
- `train/audio_valid` (N, T) bool: optional beside frames (then zero frames at both ends are padding), required
  beside ids

Values that are not finite are an error here, not replaced: whoever wrote the archive could have said what they mean.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.formats.files import load_arrays
from edge_msa.data.labels import settle_task
from edge_msa.data.tasks import Task, find_task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.atomic_files import atomic_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.modalities import MODALITIES

SCHEMA = 1
HEADER = "header"


def write_archive(dataset: Dataset, path: Path) -> None:
    """Write `dataset` to `path`: a killed or failed write leaves what was there before.

    Raises:
        UsageError: The path is invalid, see `check_archive_path`.
        DataError: A value is not finite, or the file cannot be written.
    """
    check_archive_path(path)
    arrays = _arrays_of(dataset)
    _check_finite(arrays, path)
    try:
        with atomic_file(path) as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise DataError(f"Cannot write {path} ({error.strerror or error}).") from None


def check_archive_path(path: Path) -> None:
    """Refuse, before any work, a path that no archive can be written to.

    Raises:
        UsageError: it does not end in .npz, is a folder, or its folder does not exist or cannot be written.
    """
    if path.suffix != ".npz":
        raise UsageError(f"an archive's name ends in .npz, this one is {path}")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give another path")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist: create it, or give another path")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} cannot be written: give another path")


def read_archive(path: Path, *, task: Task | None = None) -> Dataset:
    """The dataset that `write_archive`, or a person after this module's description, wrote.

    Raises:
        DataError: the file is truncated, of another schema, or has a value that is not finite.
    """
    return archive_dataset(load_arrays(path), path, task=task)


def archive_dataset(arrays: dict[str, NDArray[Any]], path: Path, *, task: Task | None) -> Dataset:
    """As `read_archive`, of arrays that are read already."""
    header = _header(arrays, path)
    _check_names(arrays, path)
    _check_finite(arrays, path)
    raw = {split: _raw_split(arrays, split, path) for split in SPLITS if _has(arrays, split)}
    return assemble(
        str(header.get("name", path.stem)),
        settle_task(task, _task_from(header.get("task"), path), str(path)),
        raw,
        digest=file_sha256(path),
        frame_rates=_frame_rates(header.get("frame_rates", {}), path),
        notes=[str(note) for note in header.get("notes", [])],
    )


def _arrays_of(dataset: Dataset) -> dict[str, NDArray[Any]]:
    header = {
        "schema": SCHEMA,
        "name": dataset.name,
        "task": dataclasses.asdict(dataset.task),
        "frame_rates": dict(dataset.frame_rates),
        "notes": list(dataset.notes),
    }
    arrays: dict[str, NDArray[Any]] = {HEADER: np.array(json.dumps(header))}
    for name, split in dataset.splits.items():
        arrays |= _split_arrays(name, split)
        for modality, frames in split.modalities.items():
            if frames.table is None:
                continue
            table = arrays.setdefault(f"{modality}_table", frames.table)
            if table is not frames.table and not np.array_equal(table, frames.table):
                raise DataError(
                    f"{modality} of {name} uses another table than the splits before it; an archive has one"
                )
    return arrays


def _split_arrays(name: SplitName, split: Split) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {
        f"{name}/ids": np.array(split.ids, dtype=np.str_),
        f"{name}/groups": np.array(split.groups, dtype=np.str_),
    }
    if not np.isnan(split.labels).all():
        arrays[f"{name}/labels"] = split.labels
    if split.texts:
        arrays[f"{name}/texts"] = np.array(split.texts, dtype=np.str_)
    for modality, frames in split.modalities.items():
        arrays[f"{name}/{modality}_valid"] = frames.valid
        if frames.ids is not None:
            arrays[f"{name}/{modality}_ids"] = frames.ids
        else:
            arrays[f"{name}/{modality}"] = frames.take()
    return arrays


def _check_finite(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    for name, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating):
            continue
        bad = ~np.isfinite(array)
        if bad.any():
            first = tuple(int(axis) for axis in np.argwhere(bad)[0])
            raise DataError(
                f"{name} of {path} holds {int(bad.sum())} values that are NaN or inf, the first at {list(first)}: "
                f"{_remedy(name)}, then write it again"
            )


def _remedy(name: str) -> str:
    if name.endswith("/labels"):
        return "label those samples or remove them"
    if name.endswith("_table"):
        return "set them to 0"
    return "set them to 0 and the validity of their frames to False"


def _header(arrays: dict[str, NDArray[Any]], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(str(arrays[HEADER]))
    except json.JSONDecodeError as error:
        raise DataError(f"the header of {path} is not JSON ({error})") from None
    if not isinstance(header, dict):
        raise DataError(f"the header of {path} is not a JSON object")
    if header.get("schema") != SCHEMA:
        raise DataError(f"{path} has schema {header.get('schema')!r}, this version reads {SCHEMA}: convert it again")
    return header


def _task_from(stated: Any, path: Path) -> Task | None:
    if stated is None:
        return None
    if isinstance(stated, str):
        return find_task(stated)
    try:
        return Task(
            find_task(stated["kind"]).kind,
            tuple(str(label) for label in stated["labels"]),
            tuple(float(edge) for edge in stated["edges"]),
            *(None if stated[bound] is None else float(stated[bound]) for bound in ("low", "high")),
        )
    except (TypeError, KeyError, ValueError, UsageError) as error:
        raise DataError(f"the task in the header of {path} cannot be read ({error})") from None


def _frame_rates(stated: Any, path: Path) -> dict[str, float]:
    try:
        return {str(name): float(rate) for name, rate in stated.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"frame_rates in the header of {path} must be an object of numbers, got {stated!r}") from None


def _has(arrays: dict[str, NDArray[Any]], split: str) -> bool:
    return any(name.startswith(f"{split}/") for name in arrays)


def _check_names(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """A misspelt array would be a modality that is missing in silence."""
    fields = ["ids", "groups", "labels", "texts"] + [m + end for m in MODALITIES for end in ("", "_ids", "_valid")]
    known = {HEADER, *(f"{m}_table" for m in MODALITIES), *(f"{split}/{field}" for split in SPLITS for field in fields)}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise DataError(f"{path} has an array {unknown[0]!r}; a split has {', '.join(fields)}")


def _raw_split(arrays: dict[str, NDArray[Any]], split: str, path: Path) -> RawSplit:
    labels, ids = arrays.get(f"{split}/labels"), arrays.get(f"{split}/ids")
    if ids is not None:
        names = [str(one) for one in np.ravel(ids)]
    elif labels is not None:
        names = [f"{split}-{row}" for row in range(len(np.atleast_1d(labels)))]
    else:
        raise DataError(f"{path} has no {split}/labels; a split without labels has {split}/ids")
    groups = arrays.get(f"{split}/groups")
    modalities = {
        modality: RawFrames(
            values=arrays.get(f"{split}/{modality}"),
            ids=arrays.get(f"{split}/{modality}_ids"),
            table=_table(arrays, split, modality, path),
            valid=arrays.get(f"{split}/{modality}_valid"),
        )
        for modality in MODALITIES
        if f"{split}/{modality}" in arrays or f"{split}/{modality}_ids" in arrays
    }
    return RawSplit(
        names,
        labels,
        modalities,
        None if groups is None else [str(group) for group in groups],
        [str(text) for text in np.ravel(arrays.get(f"{split}/texts", ()))],
    )


def _table(arrays: dict[str, NDArray[Any]], split: str, modality: str, path: Path) -> NDArray[np.float32] | None:
    if f"{split}/{modality}_ids" not in arrays:
        return None
    table = arrays.get(f"{modality}_table")
    if table is None or table.ndim != 2 or not np.issubdtype(table.dtype, np.floating):
        raise DataError(f"{path} has {split}/{modality}_ids, so it needs {modality}_table (V, d) of floats")
    # One object for all splits: whoever normalizes or embeds it does so once.
    arrays[f"{modality}_table"] = table.astype(np.float32, copy=False)
    return arrays[f"{modality}_table"]
