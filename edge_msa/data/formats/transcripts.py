"""Load transcripts: a table of texts, with or without scores. The dataset has texts and no frames.

`edge_msa_runtime.inputs.transcripts` describes the columns. A sample without a score has the label NaN, and a text
model can learn from it only through a teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.assemble import assemble
from edge_msa.data.dataset import Dataset
from edge_msa.data.labels import implied_task, resolve_task
from edge_msa.data.options import LoadOptions
from edge_msa.errors import DataError
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.inputs.frames import RawSplit
from edge_msa_runtime.inputs.sample_ids import parse_position
from edge_msa_runtime.inputs.tables import parse_number
from edge_msa_runtime.inputs.transcripts import Transcripts, parse_transcripts


def load_transcripts(path: Path, options: LoadOptions) -> Dataset:
    """Return the dataset in a table of transcripts.

    Raises:
        DataError: The file is not a table of transcripts, or a score is invalid. The message names the line.
        UnstatedTaskError: No task was passed, and the scores do not imply one; see `implied_task`.
    """
    tables, notes = parse_transcripts(path)
    if options.task is not None and not options.task.is_score and options.labels:
        raise DataError(f"Transcripts in {path} must have scores, got the task {options.task.kind}. Omit --task.")
    splits: Mapping[Any, RawSplit] = {
        name: RawSplit(
            table.ids,
            _scores(table, path) if options.labels else None,
            {},
            groups=table.groups,
            texts=table.texts,
            positions=[parse_position(clip) for clip in table.clips] or None,
        )
        for name, table in tables.items()
    }
    task = resolve_task(options, implied_task(options, path, splits, notes), path, splits)
    name = path.name.split(".")[0]
    return assemble(name, task, splits, options=options, digest=file_sha256(path), notes=notes)


def _scores(table: Transcripts, path: Path) -> NDArray[np.float64] | None:
    """Return the scores (N,), NaN for empty cells; None without a score column."""
    if table.scores is None:
        return None
    return np.array(
        [
            _parse_score(cell, line, path, decimal_comma=table.decimal_comma)
            for cell, line in zip(table.scores, table.lines, strict=True)
        ]
    )


def _parse_score(cell: str, line: int, path: Path, *, decimal_comma: bool) -> float:
    if not cell:
        return float("nan")
    try:
        return parse_number(cell, decimal_comma=decimal_comma)
    except ValueError:
        raise DataError(
            f"{path}, line {line}: the score must be a number, got {cell!r}. Without scores, omit the column."
        ) from None
