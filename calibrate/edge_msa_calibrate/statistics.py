"""Activation statistics: histograms of the inputs and outputs of every quantizable layer, and their file format."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.histogram import Histogram, merge_histograms
from edge_msa_runtime.atomic_files import write_file
from edge_msa_runtime.bundle.manifest import GraphKey

Array = npt.NDArray[Any]

SCHEMA = 3


@dataclass(frozen=True)
class Statistics:
    """What was observed in the calibration samples. Only valid frames count.

    `by_graph`: histograms by graph, then by `<weight name>:input` and `<weight name>:output`.
    `samples`: number of samples per graph.
    `channel_ranges`: smallest and largest value per input channel (2, C) of each text encoder layer, by
    `<weight name>:input`.
    `samples_key`: the caller's name for the samples. Collection resumes from saved statistics only if the names match.
    """

    by_graph: Mapping[GraphKey, Mapping[str, Histogram]]
    samples: Mapping[GraphKey, int]
    channel_ranges: Mapping[str, Array] = field(default_factory=dict)
    samples_key: str = ""

    @cached_property
    def histograms(self) -> dict[str, Histogram]:
        """Histograms of all graphs merged, by key. Samples without a modality do not add zeros for it."""
        parts: dict[str, list[Histogram]] = {}
        for histograms in self.by_graph.values():
            for key, item in histograms.items():
                parts.setdefault(key, []).append(item)
        return {key: merge_histograms(parts[key]) for key in sorted(parts)}

    @property
    def count(self) -> int:
        """Total number of samples."""
        return sum(self.samples.values())

    def save(self, path: Path) -> None:
        """Write an `.npz` file for `load_statistics`, atomically.

        Raises:
            CalibrationError: the file cannot be written.
        """
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **self._arrays())  # type: ignore[arg-type]
        try:
            write_file(path, buffer.getvalue())
        except OSError as error:
            raise CalibrationError(f"Cannot write {path}: {error.strerror or error}.") from error

    def _arrays(self) -> dict[str, Array]:
        rows = [(graph, key, item) for graph, items in self.by_graph.items() for key, item in items.items()]
        histograms = [item for _, _, item in rows]
        return {
            "schema": np.array(SCHEMA),
            "samples_key": np.array(self.samples_key, np.str_),
            "histogram_graphs": np.array([_to_json(graph) for graph, _, _ in rows], np.str_),
            "keys": np.array([key for _, key, _ in rows], np.str_),
            "counts": np.stack([item.counts for item in histograms]),
            "limits": np.array([item.limit for item in histograms]),
            "minima": np.array([item.minimum for item in histograms]),
            "maxima": np.array([item.maximum for item in histograms]),
            "graphs": np.array([_to_json(graph) for graph in self.samples], np.str_),
            "samples": np.array(list(self.samples.values()), np.int64),
            **{f"channels/{key}": value for key, value in self.channel_ranges.items()},
        }


def load_statistics(path: Path) -> Statistics:
    """Load statistics that `Statistics.save` wrote.

    Raises:
        CalibrationError: the file is missing or damaged, or has another type or schema.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["schema"]) != SCHEMA:
            raise CalibrationError(
                f"The statistics in {path} must have schema {SCHEMA}, got {int(arrays['schema'])}. Calibrate again."
            )
        by_graph: dict[GraphKey, dict[str, Histogram]] = {}
        columns = (arrays[name] for name in ("histogram_graphs", "keys", "counts", "limits", "minima", "maxima"))
        for graph, key, counts, limit, low, high in zip(*columns, strict=True):
            histogram = Histogram(counts, float(limit), float(low), float(high))
            by_graph.setdefault(_from_json(graph), {})[str(key)] = histogram
        samples = {_from_json(graph): int(n) for graph, n in zip(arrays["graphs"], arrays["samples"], strict=True)}
        channels = {name.partition("/")[2]: item for name, item in arrays.items() if name.startswith("channels/")}
        return Statistics(by_graph, samples, channels, str(arrays["samples_key"]))
    except OSError as error:
        raise CalibrationError(f"Cannot load {path}: {error.strerror or error}. Calibrate again.") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise CalibrationError(f"{path} is not a statistics file ({error}). Calibrate again.") from error


def _to_json(graph: GraphKey) -> str:
    return json.dumps(graph)


def _from_json(text: str) -> GraphKey:
    role, modalities, *sizes = json.loads(str(text))
    return GraphKey(role, tuple(modalities), *sizes)
