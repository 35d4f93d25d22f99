"""Count the layers of a student that compute in INT8 under a quantization scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.layers import encoder_of, find_layers
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_runtime.bundle.manifest import GraphKey


@dataclass(frozen=True)
class Int8Layers:
    """Number of layers in INT8."""

    int8: int
    """Layers that compute in INT8."""
    total: int
    """Layers that could compute in INT8: convolutions of encoders and linear layers of a text encoder."""

    def __str__(self) -> str:
        return f"{self.int8} of {self.total} layers in int8"


def count_int8_layers(
    graphs: Mapping[GraphKey, onnx.ModelProto],
    scheme: str,
    ranges: Iterable[str],
    fp32_weights: Mapping[str, str],
) -> Int8Layers:
    """Return the number of INT8 layers.

    Args:
        graphs: float32 graphs of the student.
        scheme: name of the quantization scheme.
        ranges: keys of the calibrated ranges.
        fp32_weights: weights whose layers stay in float, each with the reason.
    """
    calibrated = {encoder_of(key) for key in ranges}
    representative = [graphs[key] for key in representative_keys(graphs)]
    plans = [make_plan(graph, scheme_named(scheme), calibrated, fp32_weights) for graph in representative]
    return Int8Layers(sum(len(plan.layers) for plan in plans), sum(len(find_layers(graph)) for graph in representative))


def representative_keys(graphs: Iterable[GraphKey]) -> tuple[GraphKey, ...]:
    """Return the keys of the graphs that together have every layer once.

    They are the window graph with the most modalities, and the longest text encoder graph if there is one.
    """
    windows = [key for key in graphs if key.role == "window"]
    text_encoders = [key for key in graphs if key.role == "text_encoder"]
    largest = [max(windows, key=lambda key: len(key.modalities))] if windows else []
    longest = [max(text_encoders, key=lambda key: key.length or 0)] if text_encoders else []
    return (*largest, *longest)
