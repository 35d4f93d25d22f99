"""Archives: this project's own feature files, `.npz` without pickles.

An archive has these arrays for each of its splits (`train`, `valid`, `test`) and each modality of the split:

- `header`: a JSON string with `schema` (1), `name`, `task` (its name, or its fields), `frame_rates` in Hz, `notes`
- `train/labels`: scores (N,), or emotions (N, E) with values 0 and 1
- `train/ids`, `train/groups`, `train/texts` (transcripts): text (N,), optional. A split without labels must have `ids`
- `train/audio`: (N, T, d) float32; or `train/language_ids`: (N, T) integers, rows of `language_table` (V, d), which
  all splits share
- `train/audio_valid`: (N, T) bool. Required with ids. Optional with frames; without it, zero frames at both ends
  are padding

Values that are not finite are an error. They are not replaced, because an archive can mark their frames as not valid.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import RawFrames, RawSplit, assemble
from edge_msa.data.dataset import SPLITS, Dataset, Split, SplitName
from edge_msa.data.labels import resolve_task
from edge_msa.data.tasks import Task, find_task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.atomic_files import atomic_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.modalities import MODALITIES

SCHEMA = 1
HEADER = "header"


def write_archive(dataset: Dataset, path: Path) -> None:
    """Write a dataset to an archive, atomically: if writing fails, an existing file is unchanged.

    Raises:
        UsageError: The path is invalid, see `check_archive_path`.
        DataError: A value is not finite, or the file cannot be written.
    """
    check_archive_path(path)
    arrays = _to_arrays(dataset)
    _check_finite(arrays, path)
    try:
        with atomic_file(path) as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    except OSError as error:
        raise DataError(f"Cannot write {path} ({error.strerror or error}).") from None


def check_archive_path(path: Path) -> None:
    """Check the name of an archive. Call this before slow work.

    Raises:
        UsageError: The path does not end in .npz.
    """
    if path.suffix != ".npz":
        raise UsageError(f"The name of an archive must end in .npz, got {path}.")


def parse_archive(arrays: dict[str, NDArray[Any]], path: Path, *, task: Task | None) -> Dataset:
    """Return the dataset in the arrays of an archive.

    Raises:
        DataError: The archive has another schema, an unknown array, or a value that is not finite.
    """
    header = _parse_header(arrays, path)
    _check_names(arrays, path)
    _check_finite(arrays, path)
    raw = {split: _raw_split(arrays, split, path) for split in SPLITS if _has_split(arrays, split)}
    return assemble(
        str(header.get("name", path.stem)),
        resolve_task(task, _parse_task(header.get("task"), path), str(path)),
        raw,
        digest=file_sha256(path),
        frame_rates=_parse_frame_rates(header.get("frame_rates", {}), path),
        notes=[str(note) for note in header.get("notes", [])],
    )


def _to_arrays(dataset: Dataset) -> dict[str, NDArray[Any]]:
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
                raise DataError(f"{modality} must use one embedding table in all splits, but {name} has another one.")
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
        if frames.table is not None and frames.ids is not None:
            arrays[f"{name}/{modality}_ids"] = frames.ids
        elif modality == "language" and frames.values is not None:
            arrays[f"{name}/{modality}"] = frames.values  # with padding, on which imported checkpoints of ALMT depend
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
                f"{name} of {path} must be finite, got {int(bad.sum())} NaN or inf values, the first at {list(first)}. "
                f"{_how_to_fix(name)}"
            )


def _how_to_fix(name: str) -> str:
    if name.endswith("/labels"):
        return "Label these samples or remove them."
    if name.endswith("_table"):
        return "Set them to 0."
    return "Set them to 0 and mark their frames as not valid."


def _parse_header(arrays: dict[str, NDArray[Any]], path: Path) -> dict[str, Any]:
    try:
        header = json.loads(str(arrays[HEADER]))
    except json.JSONDecodeError as error:
        raise DataError(f"The header of {path} must be JSON ({error}).") from None
    if not isinstance(header, dict):
        raise DataError(f"The header of {path} must be a JSON object.")
    if header.get("schema") != SCHEMA:
        raise DataError(f"{path} must have schema {SCHEMA}, got {header.get('schema')!r}. Convert it again.")
    return header


def _parse_task(stated: Any, path: Path) -> Task | None:
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
        raise DataError(f"The task in the header of {path} is invalid ({error}).") from None


def _parse_frame_rates(stated: Any, path: Path) -> dict[str, float]:
    try:
        return {str(name): float(rate) for name, rate in stated.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"frame_rates in the header of {path} must be an object of numbers, got {stated!r}.") from None


def _has_split(arrays: dict[str, NDArray[Any]], split: str) -> bool:
    return any(name.startswith(f"{split}/") for name in arrays)


def _check_names(arrays: dict[str, NDArray[Any]], path: Path) -> None:
    """Reject unknown arrays: a misspelled name would silently drop a modality."""
    fields = ["ids", "groups", "labels", "texts"] + [m + end for m in MODALITIES for end in ("", "_ids", "_valid")]
    known = {HEADER, *(f"{m}_table" for m in MODALITIES), *(f"{split}/{field}" for split in SPLITS for field in fields)}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise DataError(f"Unknown array {unknown[0]!r} in {path}. Arrays of a split: {', '.join(fields)}.")


def _raw_split(arrays: dict[str, NDArray[Any]], split: str, path: Path) -> RawSplit:
    labels, ids = arrays.get(f"{split}/labels"), arrays.get(f"{split}/ids")
    if ids is not None:
        names = [str(sample) for sample in np.ravel(ids)]
    elif labels is not None:
        names = [f"{split}-{row}" for row in range(len(np.atleast_1d(labels)))]
    else:
        raise DataError(f"{path} must have {split}/labels, or {split}/ids for a split without labels.")
    groups = arrays.get(f"{split}/groups")
    modalities = {
        modality: RawFrames(
            values=arrays.get(f"{split}/{modality}"),
            ids=arrays.get(f"{split}/{modality}_ids"),
            table=_load_table(arrays, split, modality, path),
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


def _load_table(arrays: dict[str, NDArray[Any]], split: str, modality: str, path: Path) -> NDArray[np.float32] | None:
    if f"{split}/{modality}_ids" not in arrays:
        return None
    table = arrays.get(f"{modality}_table")
    if table is None or table.ndim != 2 or not np.issubdtype(table.dtype, np.floating):
        raise DataError(f"{path} has {split}/{modality}_ids, so it must have {modality}_table (V, d) of floats.")
    # One object for all splits, so that normalization and embedding process it once.
    arrays[f"{modality}_table"] = table.astype(np.float32, copy=False)
    return arrays[f"{modality}_table"]
