"""Load and write archives, this project's own feature files. `edge_msa_runtime.inputs.archives` describes them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.classes import name_classes
from edge_msa.data.dataset import Dataset, Split, SplitName
from edge_msa.data.labels import resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import CLASSES, NO_TASK, Task, find_task
from edge_msa.errors import DataError, UsageError
from edge_msa_runtime.atomic_files import atomic_file
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.features import features_to_json
from edge_msa_runtime.inputs.archives import HEADER, SCHEMA, check_finite, parse_archive


def write_archive(dataset: Dataset, path: Path) -> None:
    """Write a dataset to an archive, atomically: if writing fails, an existing file is unchanged.

    Raises:
        UsageError: The path is invalid, see `check_archive_path`.
        DataError: A feature is not finite, or the file cannot be written.
    """
    check_archive_path(path)
    arrays = _to_arrays(dataset)
    check_finite(arrays, path)
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


def load_archive(arrays: dict[str, NDArray[Any]], path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in the arrays of an archive.

    Raises:
        DataError: The archive has another schema, an unknown array, or a feature that is not finite.
    """
    archive = parse_archive(arrays, path)
    stated = _parse_task(archive.task, path)
    splits = archive.splits
    if stated is not None and not stated.is_score:
        splits = {name: dataclasses.replace(split, class_names=stated.labels) for name, split in splits.items()}
        stated = name_classes(splits, path) if stated == CLASSES and options.labels else stated
    if options.clip_labels is None:
        options = dataclasses.replace(options, clip_labels=archive.clip_labels)
    return assemble(
        archive.name,
        resolve_task(options, stated, path, splits),
        splits,
        options=options,
        digest=file_sha256(path),
        features=archive.features,
        notes=archive.notes,
    )


def _to_arrays(dataset: Dataset) -> dict[str, NDArray[Any]]:
    header = {
        "schema": SCHEMA,
        "name": dataset.name,
        "task": None if dataset.task == NO_TASK else _task_fields(dataset.task),
        "features": features_to_json(dataset.features),
        "notes": list(dataset.notes),
    }
    if dataset.clip_labels is not None:
        header["clip_labels"] = dataset.clip_labels
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
    if split.positions:
        arrays[f"{name}/positions"] = np.array(split.positions)
    for modality, frames in split.modalities.items():
        arrays[f"{name}/{modality}_valid"] = frames.valid
        if frames.table is not None and frames.ids is not None:
            arrays[f"{name}/{modality}_ids"] = frames.ids
        elif modality == "language" and frames.values is not None:
            arrays[f"{name}/{modality}"] = frames.values  # with padding, on which imported checkpoints of ALMT depend
        else:
            arrays[f"{name}/{modality}"] = frames.take()
    return arrays


def _task_fields(task: Task) -> dict[str, Any]:
    """Return the fields of a task. The labels of an archive are indices of classes, so what the data had is omitted."""
    return {name: value for name, value in dataclasses.asdict(task).items() if name not in {"values", "spellings"}}


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
            None if stated["low"] is None else float(stated["low"]),
            None if stated["high"] is None else float(stated["high"]),
        )
    except (TypeError, KeyError, ValueError, UsageError) as error:
        raise DataError(f"The task in the header of {path} is invalid ({error}).") from None
