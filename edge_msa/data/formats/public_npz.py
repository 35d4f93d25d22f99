"""Load public feature sets in other `.npz` layouts. `edge_msa_runtime.inputs.public_npz` describes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.labels import resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.data.tasks import find_task
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.inputs.public_npz import parse_public_npz


def load_public_npz(arrays: dict[str, NDArray[Any]], path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in the arrays of a public feature set.

    Raises:
        DataError: No layout has these names, or the arrays have different lengths.
        UnstatedTaskError: The file has no labels, and no task was passed.
    """
    features = parse_public_npz(arrays, path)
    labels = [np.ravel(split.labels) for split in features.splits.values() if split.labels is not None]
    stated = find_task(features.task) if labels else None
    task = resolve_task(options, stated, path, features.splits, layout_notes=features.notes)
    if options.task is None and features.task == "regression" and options.labels:
        every = np.concatenate(labels)
        if every.size and np.issubdtype(every.dtype, np.number) and not np.isnan(every).all():
            features.notes.append(
                f"labels are {np.nanmin(every):g} to {np.nanmax(every):g}: the task is plain regression"
            )
    return assemble(
        path.stem,
        task,
        features.splits,
        options=options,
        digest=file_sha256(path),
        features=features.features,
        notes=features.notes,
    )
