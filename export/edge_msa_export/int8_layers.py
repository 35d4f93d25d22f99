"""Count the layers of a student that compute in INT8 under a quantization scheme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.layers import encoder_of, find_layers
from edge_msa_calibrate.plan import MIN_CHANNELS, make_plan
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_runtime.bundle.manifest import GraphKey


@dataclass(frozen=True)
class Int8Layers:
    """Number of layers in INT8."""

    int8: int
    """Layers that compute in INT8."""
    total: int
    """Convolutions of encoders and linear layers of a text encoder. Other layers are never INT8 and do not count."""
    narrow: int = 0
    """Layers that are never INT8, because they have fewer than `MIN_CHANNELS` input or output channels."""
    noisy: int = 0
    """Other layers that stay in float, because INT8 is too coarse for their values."""

    def __str__(self) -> str:
        return f"{self.int8} of {self.total} layers in int8"

    def describe(self) -> str:
        """Return the number of INT8 layers, and why each other layer stays in float. The numbers add up."""
        others = {
            f"with fewer than {MIN_CHANNELS} channels": self.narrow,
            "where int8 is too coarse": self.noisy,
            "without calibration samples": self.total - self.int8 - self.narrow - self.noisy,
        }
        parts = [f"{count} {reason}" for reason, count in others.items() if count]
        return f"{self}{'; in fp32: ' if parts else ''}{', '.join(parts)}"


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
    layers = [layer for graph in representative for layer in find_layers(graph)]
    wide = [layer for layer in layers if min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS]
    noisy = [layer for layer in wide if layer.encoder in calibrated and layer.weight in fp32_weights]
    int8 = sum(len(plan.layers) for plan in plans)
    return Int8Layers(int8, len(layers), narrow=len(layers) - len(wide), noisy=len(noisy))


def representative_keys(graphs: Iterable[GraphKey]) -> tuple[GraphKey, ...]:
    """Return the keys of the graphs that together have every layer once.

    They are the window graph with the most modalities, and the longest text encoder graph if there is one.
    """
    windows = [key for key in graphs if key.role == "window"]
    text_encoders = [key for key in graphs if key.role == "text_encoder"]
    largest = [max(windows, key=lambda key: len(key.modalities))] if windows else []
    longest = [max(text_encoders, key=lambda key: key.length or 0)] if text_encoders else []
    return (*largest, *longest)
