"""Statistics gathered in one pass: samples are read one at a time, and what was counted can be saved on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from edge_msa_calibrate.errors import CalibrationError
from edge_msa_calibrate.executor import GraphExecutor
from edge_msa_calibrate.histogram import DEFAULT_BINS, HistogramBuilder
from edge_msa_calibrate.layers import LinearSite, find_sites
from edge_msa_calibrate.statistics import TEXT_ENCODER_SCOPE, Statistics, load_statistics
from edge_msa_runtime.modalities import MODALITIES, Subset

Array = npt.NDArray[Any]
Sample = Mapping[str, Array]
"""Frames (T, d) by modality; or what a graph reads by its inputs' names: `frames.<m>` (1, T, d) and `valid.<m>` (1, T)
with its ones first, or `ids` and `valid` (1, L) of a language text encoder."""


@dataclass(frozen=True)
class Checkpoint:
    """Where statistics are kept on the way, after every so many samples, and what stream of samples they are of."""

    path: Path
    stream: str
    every: int = 64


def collect_statistics(
    graphs: Mapping[str, onnx.ModelProto],
    samples: Iterable[Sample],
    bins: int = DEFAULT_BINS,
    checkpoint: Checkpoint | None = None,
) -> Statistics:
    """Run the samples through the float32 graphs once and count what the linear layers read and make.

    Only valid frames are counted: what lies behind them is padding, and so is a window's memory. An absent modality
    adds nothing, instead of zeros that would squeeze its ranges. Memory does not grow with the samples.

    Args:
        graphs: float32 window graphs by the subset's value, and a language text encoder's graph as `text_encoder`.
        samples: any number, read one at a time; which graph a sample goes to follows from its names.
        bins: of the histograms, on either side of zero.
        checkpoint: goes on from what is kept there, passing over the samples that it has counted, and keeps what is
            counted now. The samples must then come in the same order each time.

    Raises:
        CalibrationError: no sample, a subset without a graph, inputs that do not fit it, an activation that is NaN.
    """
    collector = _Collector(graphs, bins)
    stream = iter(samples)
    if checkpoint is not None and (kept := _kept(checkpoint, bins)):
        collector.go_on(kept)
        next(islice(stream, kept.count - 1, kept.count), None)
    for sample in stream:
        collector.add(sample)
        if checkpoint is not None and collector.count % checkpoint.every == 0:
            collector.statistics(checkpoint.stream).save(checkpoint.path)
    return collector.statistics(checkpoint.stream if checkpoint else "")


def _kept(checkpoint: Checkpoint, bins: int) -> Statistics | None:
    """What an interrupted pass over the same stream has counted."""
    if not checkpoint.path.is_file():
        return None
    found = load_statistics(checkpoint.path)
    fits = all(item.bins == bins for item in found.histograms.values())
    return found if found.stream == checkpoint.stream and fits else None


class _Collector:
    """Builders by subset and key, that samples go through."""

    def __init__(self, graphs: Mapping[str, onnx.ModelProto], bins: int) -> None:
        self._graphs = graphs
        self._bins = bins
        self._observers: dict[str, _Observer] = {}
        self._builders: dict[str, dict[str, HistogramBuilder]] = {}
        self._samples: dict[str, int] = {}
        self._channels: dict[str, Array] = {}

    @property
    def count(self) -> int:
        """Samples so far."""
        return sum(self._samples.values())

    def go_on(self, kept: Statistics) -> None:
        """Start from what was counted."""
        self._samples = dict(kept.samples)
        self._channels = dict(kept.channels)
        for scope, found in kept.by_subset.items():
            for key, item in found.items():
                self._builder(scope, key).add_histogram(item)

    def add(self, sample: Sample) -> None:
        """Count one."""
        scope = scope_of(sample)
        if scope not in self._observers:
            self._observers[scope] = _Observer(_graph_of(self._graphs, scope))
        for key, values in self._observers[scope].observe(sample):
            self._builder(scope, key).add(values)
            if scope == TEXT_ENCODER_SCOPE and values.size:
                self._widen(key, values)
        self._samples[scope] = self._samples.get(scope, 0) + 1

    def statistics(self, stream: str) -> Statistics:
        """What was counted.

        Raises:
            CalibrationError: nothing was.
        """
        scopes = [item.value for item in Subset] + [TEXT_ENCODER_SCOPE]
        found = {
            scope: {key: builder.histogram() for key, builder in sorted(self._builders[scope].items()) if builder.seen}
            for scope in scopes
            if scope in self._builders
        }
        if not any(found.values()):
            raise CalibrationError("no calibration sample has a valid frame; give a split that is not empty")
        samples = {scope: self._samples[scope] for scope in scopes if scope in self._samples}
        return Statistics(found, samples, dict(sorted(self._channels.items())), stream)

    def _widen(self, key: str, values: Array) -> None:
        """Keep the extremes of each channel of (frames, C)."""
        low, high = self._channels.get(key, (values[0], values[0]))
        self._channels[key] = np.stack([np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))])

    def _builder(self, scope: str, key: str) -> HistogramBuilder:
        return self._builders.setdefault(scope, {}).setdefault(key, HistogramBuilder(self._bins))


def scope_of(sample: Sample) -> str:
    """The subset a sample is of, by its names, or `text_encoder`.

    Raises:
        CalibrationError: its names say neither.
    """
    if "ids" in sample:
        return TEXT_ENCODER_SCOPE
    names = [name for name in MODALITIES if name in sample or f"frames.{name}" in sample]
    if not names:
        told = ", ".join(sample) or "nothing"
        raise CalibrationError(f"a calibration sample holds {told}; name its arrays {', '.join(MODALITIES)}, or ids")
    return Subset.of(names).value


class _Observer:
    """One graph and the tensors to look at in it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._sites = find_sites(model)
        self._windows = {
            value.name: value.type.tensor_type.shape.dim[1].dim_value
            for value in model.graph.input
            if value.name.startswith("frames.")
        }
        tensors = (name for site in self._sites for name in (_read_by(site), site.result))
        self._executor = GraphExecutor(model, tensors)

    def observe(self, sample: Sample) -> list[tuple[str, Array]]:
        """Keys and their values of valid frames; one tensor that several layers read is handed out for each."""
        inputs = self._inputs(sample)
        tensors = self._executor.run(inputs)
        seen: list[tuple[str, Array]] = []
        for site in self._sites:
            seen.append((site.input_key, _valid(site, tensors[_read_by(site)], inputs)))
            # Nobody quantizes what a text encoder's layer makes before it is added, normalized or squashed.
            if site.op_type == "Conv":
                seen.append((site.output_key, _valid(site, tensors[site.result], inputs)))
        return seen

    def _inputs(self, sample: Sample) -> dict[str, Array]:
        """The sample as the graph reads it: frames padded to its window, or cut to it."""
        inputs = {name: value for name, value in sample.items() if name not in MODALITIES}
        for name in (name for name in MODALITIES if name in sample):
            window = self._windows.get(f"frames.{name}", len(sample[name]))
            frames = np.asarray(sample[name], np.float32)[:window]
            padding = ((0, window - len(frames)),) + ((0, 0),) * (frames.ndim - 1)
            inputs[f"frames.{name}"] = np.pad(frames, padding)[None]
            inputs[f"valid.{name}"] = (np.arange(window) < len(frames)).astype(np.float32)[None]
        return inputs


def _read_by(site: LinearSite) -> str:
    return site.features or site.source


def _valid(site: LinearSite, values: Array, inputs: Mapping[str, Array]) -> Array:
    """The part of a tensor that real frames made: of a convolution (1, C, T) the first, of a text encoder (1, L, C) those."""
    if site.op_type != "Conv":
        valid = inputs["valid"].ravel() > 0
        return values.reshape(len(valid), -1)[valid]
    valid = inputs[f"valid.{site.owner}"]
    frames = int(valid.sum())
    if not valid[:, :frames].all():
        raise CalibrationError(f"valid.{site.owner} of a calibration sample does not have its ones first")
    # Behind a stride there are fewer frames than the window has; one that a real frame took part in counts.
    return values[:, :, : -(-frames * values.shape[2] // valid.shape[1])]


def _graph_of(graphs: Mapping[str, onnx.ModelProto], scope: str) -> onnx.ModelProto:
    if scope not in graphs:
        raise CalibrationError(f"a calibration sample is of subset {scope!r}, but graphs are {', '.join(graphs)}")
    return graphs[scope]
