"""Count the layers of a student that compute in INT8 under a quantization scheme, and their share of its operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx

from edge_msa_calibrate.layers import encoder_of, find_layers
from edge_msa_calibrate.macs import count_macs
from edge_msa_calibrate.plan import MIN_CHANNELS, make_plan
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_runtime.bundle.manifest import GraphKey, Int8Share


@dataclass(frozen=True)
class Int8Layers:
    """The layers in INT8, and how many others stay in float for which reason."""

    share: Int8Share
    """Number of layers, and share of the multiply-accumulate operations (MACs)."""
    narrow: int = 0
    """Layers that are never INT8, because they have fewer than `MIN_CHANNELS` input or output channels."""
    kept: int = 0
    """Other layers that a mixed-precision plan keeps in float."""

    def __str__(self) -> str:
        return f"int8 computes {self.share}"

    def describe(self) -> str:
        """Return the share, and why each other layer stays in float. The numbers of layers add up."""
        others = {
            f"with fewer than {MIN_CHANNELS} channels": self.narrow,
            "kept by the mixed-precision plan": self.kept,
            "without calibration samples": self.share.all_layers - self.share.layers - self.narrow - self.kept,
        }
        parts = [f"{count} {reason}" for reason, count in others.items() if count]
        return f"{self}{'; in fp32: ' if parts else ''}{', '.join(parts)}"


def count_int8_layers(
    graphs: Mapping[GraphKey, onnx.ModelProto],
    scheme: str,
    ranges: Iterable[str],
    fp32_weights: Mapping[str, str],
) -> Int8Layers:
    """Return the INT8 layers.

    Args:
        graphs: float32 graphs of the student.
        scheme: name of the quantization scheme.
        ranges: keys of the calibrated ranges.
        fp32_weights: weights whose layers stay in float, each with the reason.
    """
    calibrated = {encoder_of(key) for key in ranges}
    layers = int8_layers = narrow = kept = 0
    macs = int8_macs = 0
    for key in representative_keys(graphs):
        found = find_layers(graphs[key])
        int8 = make_plan(graphs[key], scheme_named(scheme), calibrated, fp32_weights).layers
        counts = count_macs(graphs[key])
        wide = [layer for layer in found if min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS]
        layers += len(found)
        int8_layers += len(int8)
        narrow += len(found) - len(wide)
        kept += sum(layer.encoder in calibrated and layer.weight in fp32_weights for layer in wide)
        macs += sum(counts.values())
        int8_macs += sum(counts[layer.node] for layer in int8)
    return Int8Layers(Int8Share(int8_layers, layers, int8_macs / max(macs, 1)), narrow, kept)


def representative_keys(graphs: Iterable[GraphKey]) -> tuple[GraphKey, ...]:
    """Return the keys of the graphs that together have every layer once.

    They are the window graph with the most modalities, and the longest text encoder graph if there is one.
    """
    windows = [key for key in graphs if key.role == "window"]
    text_encoders = [key for key in graphs if key.role == "text_encoder"]
    largest = [max(windows, key=lambda key: (len(key.modalities), key.length is None))] if windows else []
    longest = [max(text_encoders, key=lambda key: key.length or 0)] if text_encoders else []
    return (*largest, *longest)
