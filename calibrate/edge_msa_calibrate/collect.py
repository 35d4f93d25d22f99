"""Collect activation statistics in one pass over any number of samples, with checkpoints."""

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
from edge_msa_calibrate.layers import QuantizableLayer, find_layers
from edge_msa_calibrate.statistics import Statistics, load_statistics
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import MODALITIES, Subset

Array = npt.NDArray[Any]
Sample = Mapping[str, Array]
"""One calibration sample, in one of three forms:

- frames (T, d) by modality;
- the inputs of a window graph by name: `frames.<m>` (1, T, d) and `valid.<m>` (1, T) with its ones first;
- the inputs of a text encoder: `ids` and `valid` (1, L).
"""


@dataclass(frozen=True)
class Checkpoint:
    """Where to save statistics during collection, and how often.

    `samples_key`: the caller's name for the samples. Collection resumes only from statistics of the same samples.
    `every`: number of samples between two checkpoints.
    """

    path: Path
    samples_key: str
    every: int = 64


def collect_statistics(
    graphs: Mapping[GraphKey, onnx.ModelProto],
    samples: Iterable[Sample],
    checkpoint: Checkpoint | None = None,
) -> Statistics:
    """Run samples through the float32 graphs once and count the inputs and outputs of the quantizable layers.

    Only valid frames count; padding and the memory of a window do not. An absent modality adds nothing, because zeros
    would shrink its ranges. Memory does not grow with the number of samples.

    Args:
        graphs: float32 window and text encoder graphs.
        samples: any number, processed one at a time. The arrays in a sample decide which graph runs it.
        checkpoint: resume from the statistics saved there, skipping the samples that they contain, and save there
            regularly. The samples must come in the same order each time. A file that is damaged, or has another schema
            or other samples, is ignored and replaced.

    Raises:
        CalibrationError: there is no sample, no graph fits a sample, or an activation is NaN or infinite.
    """
    collector = _Collector(graphs)
    remaining = iter(samples)
    if checkpoint is not None and (saved := _load_checkpoint(checkpoint)):
        collector.resume(saved)
        next(islice(remaining, saved.count - 1, saved.count), None)
    for sample in remaining:
        collector.add(sample)
        # Without a valid frame so far there is nothing to save.
        if checkpoint is not None and collector.count % checkpoint.every == 0 and not collector.is_empty:
            collector.statistics(checkpoint.samples_key).save(checkpoint.path)
    return collector.statistics(checkpoint.samples_key if checkpoint else "")


def graph_for_sample(sample: Sample) -> GraphKey:
    """Return the key of the graph that runs a sample. The names of its arrays decide.

    Raises:
        CalibrationError: no array has a known name.
    """
    if "ids" in sample:
        return GraphKey.text_encoder(sample["ids"].shape[1])
    names = [name for name in MODALITIES if name in sample or f"frames.{name}" in sample]
    if not names:
        actual = ", ".join(sample) or "no arrays"
        raise CalibrationError(
            f"A calibration sample must have arrays named {', '.join(MODALITIES)} or ids, got {actual}."
        )
    return GraphKey.window(Subset.of(names))


def _load_checkpoint(checkpoint: Checkpoint) -> Statistics | None:
    """Return the statistics of an interrupted pass over the same samples, or None."""
    if not checkpoint.path.is_file():
        return None
    try:
        saved = load_statistics(checkpoint.path)
    except CalibrationError:
        return None  # damaged, or from another version: the pass starts again
    same_bins = all(item.bins == DEFAULT_BINS for item in saved.histograms.values())
    return saved if saved.samples_key == checkpoint.samples_key and same_bins else None


class _Collector:
    """Histogram builders by graph and key."""

    def __init__(self, graphs: Mapping[GraphKey, onnx.ModelProto]) -> None:
        self._graphs = graphs
        self._observers: dict[GraphKey, _Observer] = {}
        self._builders: dict[GraphKey, dict[str, HistogramBuilder]] = {}
        self._samples: dict[GraphKey, int] = {}
        self._channel_ranges: dict[str, Array] = {}

    @property
    def count(self) -> int:
        """Number of samples so far."""
        return sum(self._samples.values())

    @property
    def is_empty(self) -> bool:
        """Whether no sample had a valid frame so far."""
        return all(item.is_empty for builders in self._builders.values() for item in builders.values())

    def resume(self, saved: Statistics) -> None:
        """Start from saved statistics."""
        self._samples = dict(saved.samples)
        self._channel_ranges = dict(saved.channel_ranges)
        for graph, histograms in saved.by_graph.items():
            for key, item in histograms.items():
                self._builder(graph, key).add_histogram(item)

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        graph = graph_for_sample(sample)
        if graph not in self._observers:
            self._observers[graph] = self._observer(graph)
        for key, values in self._observers[graph].observe(sample):
            self._builder(graph, key).add(values)
            if graph.role == "text_encoder" and values.size:
                self._update_channel_range(key, values)
        self._samples[graph] = self._samples.get(graph, 0) + 1

    def statistics(self, samples_key: str) -> Statistics:
        """Return the statistics of all samples so far.

        Raises:
            CalibrationError: no sample had a valid frame.
        """
        by_graph = {
            graph: {key: item.histogram() for key, item in sorted(builders.items()) if not item.is_empty}
            for graph, builders in sorted(self._builders.items(), key=lambda item: str(item[0]))
        }
        if not any(by_graph.values()):
            raise CalibrationError("No calibration sample has a valid frame. Use a split that is not empty.")
        samples = dict(sorted(self._samples.items(), key=lambda item: str(item[0])))
        return Statistics(by_graph, samples, dict(sorted(self._channel_ranges.items())), samples_key)

    def _observer(self, graph: GraphKey) -> _Observer:
        if graph not in self._graphs:
            raise CalibrationError(
                f"A calibration sample needs the graph {str(graph)!r}. Available: {', '.join(map(str, self._graphs))}."
            )
        return _Observer(self._graphs[graph])

    def _update_channel_range(self, key: str, values: Array) -> None:
        """Extend the minima and maxima of the channels to cover values (frames, C)."""
        low, high = self._channel_ranges.get(key, (values[0], values[0]))
        self._channel_ranges[key] = np.stack(
            [np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))]
        )

    def _builder(self, graph: GraphKey, key: str) -> HistogramBuilder:
        return self._builders.setdefault(graph, {}).setdefault(key, HistogramBuilder())


class _Observer:
    """One graph and the tensors to observe in it."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._layers = find_layers(model)
        self._windows = {
            value.name: value.type.tensor_type.shape.dim[1].dim_value
            for value in model.graph.input
            if value.name.startswith("frames.")
        }
        tensors = (name for layer in self._layers for name in (_observed_input(layer), layer.output))
        self._executor = GraphExecutor(model, tensors)

    def observe(self, sample: Sample) -> list[tuple[str, Array]]:
        """Return pairs of a key and the values of the valid frames. Layers that share a tensor each return it."""
        inputs = self._graph_inputs(sample)
        tensors = self._executor.run(inputs)
        observed: list[tuple[str, Array]] = []
        for layer in self._layers:
            observed.append((layer.input_key, _valid_values(layer, tensors[_observed_input(layer)], inputs)))
            # Outputs of text encoder layers stay float: a sum, a normalization or an activation follows them.
            if layer.op_type == "Conv":
                observed.append((layer.output_key, _valid_values(layer, tensors[layer.output], inputs)))
        return observed

    def _graph_inputs(self, sample: Sample) -> dict[str, Array]:
        """Return the inputs of the graph. Frames are padded or cut to the graph's window."""
        inputs = {name: value for name, value in sample.items() if name not in MODALITIES}
        for name in (name for name in MODALITIES if name in sample):
            window = self._windows.get(f"frames.{name}", len(sample[name]))
            frames = np.asarray(sample[name], np.float32)[:window]
            padding = ((0, window - len(frames)),) + ((0, 0),) * (frames.ndim - 1)
            inputs[f"frames.{name}"] = np.pad(frames, padding)[None]
            inputs[f"valid.{name}"] = (np.arange(window) < len(frames)).astype(np.float32)[None]
        return inputs


def _observed_input(layer: QuantizableLayer) -> str:
    return layer.features or layer.input


def _valid_values(layer: QuantizableLayer, values: Array, inputs: Mapping[str, Array]) -> Array:
    """Return the part of a tensor that comes from valid frames.

    A convolution's tensor is (1, C, T), with valid frames first; a text encoder's is (1, L, C).
    """
    if layer.op_type != "Conv":
        valid = inputs["valid"].ravel() > 0
        return values.reshape(len(valid), -1)[valid]
    valid = inputs[f"valid.{layer.encoder}"]
    frames = int(valid.sum())
    if not valid[:, :frames].all():
        raise CalibrationError(f"valid.{layer.encoder} of a calibration sample must have its ones first.")
    # After a stride there are fewer frames than in the window. A frame counts if any valid frame contributes to it.
    return values[:, :, : -(-frames * values.shape[2] // valid.shape[1])]
