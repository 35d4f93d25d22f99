"""Statistics: a histogram of what every encoder convolution reads and makes, gathered once for every rule set."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_msa_calibrate.convs import ConvSite, find_convs
from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.executor import GraphExecutor
from edge_msa_calibrate.histogram import DEFAULT_BINS, Histogram, HistogramBuilder
from edge_msa_runtime.modalities import Subset

Array = npt.NDArray[Any]

SCHEMA = 1


@dataclass(frozen=True)
class CalibrationSample:
    """One sample as a window graph reads it.

    `subset`: which modalities, as `Subset` writes it. `inputs`: `frames.<modality>` (1, T, d) and `valid.<modality>`
    (1, T) float32, ones first.
    """

    subset: str
    inputs: Mapping[str, Array]


@dataclass(frozen=True)
class Statistics:
    """What was seen.

    `histograms`: by `<weight name>:input` and `<weight name>:output`, of valid frames alone. `samples`: how many were
    seen of each subset, by its written value.
    """

    histograms: Mapping[str, Histogram]
    samples: Mapping[str, int]

    @property
    def modality_samples(self) -> dict[str, int]:
        """How many samples each modality was in."""
        counts: dict[str, int] = {}
        for subset, count in self.samples.items():
            for name in Subset(subset).modalities:
                counts[name] = counts.get(name, 0) + count
        return counts

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
        found = list(self.histograms.values())
        return {
            "schema": np.array(SCHEMA),
            "keys": np.array(list(self.histograms), np.str_),
            "counts": np.stack([item.counts for item in found]),
            "limits": np.array([item.limit for item in found]),
            "minima": np.array([item.minimum for item in found]),
            "maxima": np.array([item.maximum for item in found]),
            "subsets": np.array(list(self.samples), np.str_),
            "samples": np.array(list(self.samples.values()), np.int64),
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
        columns = (arrays[name] for name in ("keys", "counts", "limits", "minima", "maxima"))
        histograms = {
            str(key): Histogram(counts, float(limit), float(low), float(high))
            for key, counts, limit, low, high in zip(*columns, strict=True)
        }
        samples = zip(arrays["subsets"], arrays["samples"], strict=True)
        return Statistics(histograms, {str(subset): int(count) for subset, count in samples})
    except OSError as error:
        raise CalibrationError(f"cannot read {path}: {error.strerror or error}; calibrate again") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} does not hold statistics ({error}); calibrate again") from error


def gather_statistics(
    graphs: Mapping[str, onnx.ModelProto], samples: Iterable[CalibrationSample], bins: int = DEFAULT_BINS
) -> Statistics:
    """Run the samples through the float32 window graphs once and count what the convolutions read and make.

    Only valid frames are counted: what lies behind them is padding, and so is a window's memory. An absent modality
    adds nothing, instead of zeros that would squeeze its ranges.

    Args:
        graphs: float32 window graphs by the subset's value.
        samples: any number, read one at a time.
        bins: of the histograms, on either side of zero.

    Raises:
        CalibrationError: no sample, a subset without a graph, inputs that do not fit it, an activation that is NaN.
    """
    observers: dict[str, _Observer] = {}
    builders: dict[str, HistogramBuilder] = {}
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.subset not in observers:
            observers[sample.subset] = _Observer(_graph_of(graphs, sample.subset))
        for key, values in observers[sample.subset].observe(sample.inputs):
            builders.setdefault(key, HistogramBuilder(bins)).add(values)
        counts[sample.subset] = counts.get(sample.subset, 0) + 1
    if not builders:
        raise CalibrationError("no calibration sample has a valid frame; give a split that is not empty")
    histograms = {key: builders[key].histogram() for key in sorted(builders)}
    return Statistics(histograms, {subset.value: counts[subset.value] for subset in Subset if subset.value in counts})


class _Observer:
    """One window graph and the tensors to look at in it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._sites = find_convs(model)
        tensors = (name for site in self._sites for name in (site.features or site.source, site.result))
        self._executor = GraphExecutor(model, tensors)

    def observe(self, inputs: Mapping[str, Array]) -> list[tuple[str, Array]]:
        """Keys and their values (1, C, valid frames)."""
        tensors = self._executor.run(inputs)
        seen: list[tuple[str, Array]] = []
        for site in self._sites:
            read = tensors[site.features or site.source]
            frames = _valid_rows(site, inputs, read.shape[2])
            seen.append((site.input_key, read[:, :, :frames]))
            seen.append((site.output_key, tensors[site.result][:, :, :frames]))
        return seen


def _valid_rows(site: ConvSite, inputs: Mapping[str, Array], rows: int) -> int:
    """How many rows of a tensor valid frames make; an encoder may have stacked several frames into each."""
    valid = inputs[f"valid.{site.modality}"]
    frames = int(valid.sum())
    if not valid[:, :frames].all():
        raise CalibrationError(f"valid.{site.modality} of a calibration sample does not have its ones first")
    stacked = -(-int(valid.shape[1]) // rows)
    return -(-frames // stacked)


def _graph_of(graphs: Mapping[str, onnx.ModelProto], subset: str) -> onnx.ModelProto:
    if subset not in graphs:
        raise CalibrationError(f"a calibration sample is of subset {subset!r}, but graphs are {', '.join(graphs)}")
    return graphs[subset]


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
