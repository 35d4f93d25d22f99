"""Statistics: histograms of what every linear layer reads and makes, by subset, and the file they are kept in."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, merged
from edge_msa_calibrate.layers import TEXT_ENCODER
from edge_msa_runtime.modalities import Subset

Array = npt.NDArray[Any]

SCHEMA = 2
TEXT_ENCODER_SCOPE = TEXT_ENCODER.rstrip(".")
"""What stands for a subset where a language text encoder was observed."""


@dataclass(frozen=True)
class Statistics:
    """What was seen.

    `by_subset`: histograms by the subset they were seen in (`text_encoder` for a language text encoder), and there by
    `<weight name>:input` and `<weight name>:output`, of valid frames alone. `channels`: the smallest and the largest
    value of each channel of what a layer of a text encoder reads, (2, C), by `<weight name>:input`. `samples`: how many were
    seen of each subset. `stream`: what the samples were, in the caller's words; statistics of another stream are not
    gone on with.
    """

    by_subset: Mapping[str, Mapping[str, Histogram]]
    samples: Mapping[str, int]
    channels: Mapping[str, Array] = field(default_factory=dict)
    stream: str = ""

    @cached_property
    def histograms(self) -> dict[str, Histogram]:
        """By key, of all subsets together: each adds what it saw, and one without a modality adds no zeros for it."""
        parts: dict[str, list[Histogram]] = {}
        for found in self.by_subset.values():
            for key, item in found.items():
                parts.setdefault(key, []).append(item)
        return {key: merged(parts[key]) for key in sorted(parts)}

    @property
    def modality_samples(self) -> dict[str, int]:
        """How many samples each modality was in."""
        counts: dict[str, int] = {}
        for subset, count in self.samples.items():
            for name in Subset(subset).modalities if subset != TEXT_ENCODER_SCOPE else ():
                counts[name] = counts.get(name, 0) + count
        return counts

    @property
    def count(self) -> int:
        """How many samples were seen."""
        return sum(self.samples.values())

    def save(self, path: Path) -> None:
        """Write an `.npz` that `load_statistics` reads; it appears whole or not at all.

        Raises:
            CalibrationError: it cannot be written.
        """
        try:
            _write_whole(path, self._arrays())
        except OSError as error:
            raise CalibrationError(f"cannot write {path}: {error.strerror or error}") from error

    def _arrays(self) -> dict[str, Array]:
        rows = [(subset, key, item) for subset, found in self.by_subset.items() for key, item in found.items()]
        found = [item for _, _, item in rows]
        return {
            "schema": np.array(SCHEMA),
            "stream": np.array(self.stream, np.str_),
            "scopes": np.array([subset for subset, _, _ in rows], np.str_),
            "keys": np.array([key for _, key, _ in rows], np.str_),
            "counts": np.stack([item.counts for item in found]),
            "limits": np.array([item.limit for item in found]),
            "minima": np.array([item.minimum for item in found]),
            "maxima": np.array([item.maximum for item in found]),
            "subsets": np.array(list(self.samples), np.str_),
            "samples": np.array(list(self.samples.values()), np.int64),
            **{f"channels/{key}": value for key, value in self.channels.items()},
        }


def load_statistics(path: Path) -> Statistics:
    """Read what `Statistics.save` wrote.

    Raises:
        CalibrationError: the file is missing, truncated, of another kind or of another schema.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["schema"]) != SCHEMA:
            raise CalibrationError(f"{path} has statistics of schema {int(arrays['schema'])}, this reads {SCHEMA}")
        by_subset: dict[str, dict[str, Histogram]] = {}
        columns = (arrays[name] for name in ("scopes", "keys", "counts", "limits", "minima", "maxima"))
        for scope, key, counts, limit, low, high in zip(*columns, strict=True):
            by_subset.setdefault(str(scope), {})[str(key)] = Histogram(counts, float(limit), float(low), float(high))
        samples = zip(arrays["subsets"], arrays["samples"], strict=True)
        channels = {name.partition("/")[2]: item for name, item in arrays.items() if name.startswith("channels/")}
        counted = {str(name): int(count) for name, count in samples}
        return Statistics(by_subset, counted, channels, str(arrays["stream"]))
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror or error}; calibrate again") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} does not hold statistics ({error}); calibrate again") from error


def _write_whole(path: Path, arrays: Mapping[str, Array]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
