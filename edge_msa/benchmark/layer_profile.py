"""The result of `edge-msa bench layers`: the layers that a backend executes, with their times and bounds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge_msa import result_tables
from edge_msa.artifacts.schemas import check_schema
from edge_msa.errors import EdgeMsaError
from edge_msa.text_tables import format_number, text_table
from edge_msa_runtime.wording import format_count

SCHEMA = 1
KIND = "layers"
"""Value of the field `record`."""
_SHOWN = 12
"""Layers in a table for people. The others are one row."""


@dataclass(frozen=True)
class Peaks:
    """What a machine can do at most, measured."""

    macs_per_second: Mapping[str, float]
    """MACs per second by precision: `fp32` and `int8`."""
    bytes_per_second: float
    """Bytes per second that copies of as much memory as the graph touches read and write."""

    def bound_us(self, precision: str, macs: int, size: int) -> float:
        """Return the shortest time of a layer in microseconds: the longer of those for its MACs and for its bytes."""
        peak = self.macs_per_second.get(precision, self.macs_per_second["fp32"])
        return max(macs / peak, size / self.bytes_per_second) * 1e6


@dataclass(frozen=True)
class Layer:
    """One layer that a backend executes."""

    name: str
    """Type and shape of the output, for people."""
    type: str
    """Type in the notation of the backend."""
    precision: str
    """Precision in which it computes: `fp32`, `fp16`, `bf16`, `int8`, or another element type."""
    time_us: float
    """Time of one run in microseconds: the mean of the fastest tenth of the runs."""
    macs: int
    """Multiply-accumulate operations; 0 for a layer without products."""
    bytes: int
    """Bytes of all inputs, weights and outputs."""
    is_reformat: bool
    """Whether it only changes the layout or the element type."""
    kernel: str = ""
    """Kernel that the backend chose, if it says so."""


@dataclass(frozen=True, repr=False)
class LayerProfile(result_tables.Table):
    """Where the time of one graph goes. `print` shows the slowest layers and the shares of the precisions."""

    name: str
    """Name of the bundle, equal to the name in its other records."""
    target: str
    """Device profile of the bundle."""
    backend: str
    """Backend that ran the graph."""
    precision: str
    """Precision of the graph."""
    device: str
    """Device that ran it."""
    subset: str
    """Modalities of the window graph."""
    layers: tuple[Layer, ...]
    """The executed layers, in their order."""
    peaks: Peaks
    """Peaks of this machine."""
    machine: Mapping[str, str]
    """CPU, system, versions and threads."""

    def __repr__(self) -> str:
        """Return what was profiled."""
        return f"<LayerProfile of {self.name}: {self.backend} {self.precision}, {len(self.layers)} layers>"

    @property
    def total_us(self) -> float:
        """Sum of the times of the layers in microseconds. Profiling adds to it."""
        return sum(layer.time_us for layer in self.layers)

    @property
    def bound_us(self) -> float:
        """Sum of the bounds of the layers in microseconds."""
        return sum(self.peaks.bound_us(layer.precision, layer.macs, layer.bytes) for layer in self.layers)

    def share_of_time(self, precision: str) -> float:
        """Return the share of the time that layers of a precision take, without reformats."""
        return self._share(
            layer.time_us for layer in self.layers if layer.precision == precision and not layer.is_reformat
        )

    def share_of_reformats(self) -> float:
        """Return the share of the time that changes of layouts and types take."""
        return self._share(layer.time_us for layer in self.layers if layer.is_reformat)

    def share_of_macs(self, precision: str) -> float:
        """Return the share of the MACs that layers of a precision compute."""
        total = sum(layer.macs for layer in self.layers)
        return sum(layer.macs for layer in self.layers if layer.precision == precision) / total if total else 0.0

    def _share(self, times: Iterator[float]) -> float:
        return sum(times) / self.total_us if self.total_us else 0.0

    def __str__(self) -> str:
        """Return the table for people."""
        return format_layers(self)

    @property
    def rows(self) -> tuple[result_tables.Row, ...]:
        """One row per layer."""
        return tuple(
            {
                **dataclasses.asdict(layer),
                "bound_us": self.peaks.bound_us(layer.precision, layer.macs, layer.bytes),
            }
            for layer in self.layers
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"record": KIND, "schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerProfile:
        """Return the profile that `to_json` wrote.

        Raises:
            EdgeMsaError: The value is not one of this schema, or a key is missing or unknown.
        """
        check_schema(value, KIND, SCHEMA, title="a profile of layers", again="Run edge-msa bench layers again")
        fields = {name: item for name, item in value.items() if name not in {"record", "schema"}}
        try:
            fields["layers"] = tuple(Layer(**item) for item in fields["layers"])
            fields["peaks"] = Peaks(**fields["peaks"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise EdgeMsaError(f"The layers record is not valid ({error}). Run edge-msa bench layers again.") from None


def format_layers(profile: LayerProfile) -> str:
    """Return the slowest layers as a table, followed by shares and the bound."""
    ordered = sorted(profile.layers, key=lambda layer: -layer.time_us)
    shown, rest = ordered[:_SHOWN], ordered[_SHOWN:]
    header = ["layer", "precision", "us", "% of time", "MACs", "bytes", "bound us"]
    rows = [
        [
            layer.name,
            layer.precision + (", reformat" if layer.is_reformat else ""),
            f"{layer.time_us:.1f}",
            f"{100 * layer.time_us / profile.total_us:.1f}",
            f"{layer.macs:,}",
            f"{layer.bytes:,}",
            format_number(profile.peaks.bound_us(layer.precision, layer.macs, layer.bytes)),
        ]
        for layer in shown
    ]
    if rest:
        time_us = sum(layer.time_us for layer in rest)
        macs, size = sum(layer.macs for layer in rest), sum(layer.bytes for layer in rest)
        share = f"{100 * time_us / profile.total_us:.1f}"
        rows.append([f"{len(rest)} others", "", f"{time_us:.1f}", share, f"{macs:,}", f"{size:,}", ""])
    title = f"{profile.name}, {profile.backend} {profile.precision}, {profile.subset}"
    return "\n".join([title, "", text_table(header, rows, left=2), *_notes(profile)])


def _notes(profile: LayerProfile) -> Iterator[str]:
    precisions = dict.fromkeys(layer.precision for layer in profile.layers)
    shares = [(name, profile.share_of_time(name), profile.share_of_macs(name)) for name in precisions]
    parts = (f"{name} {100 * time:.0f} % of the time, {100 * macs:.0f} % of the MACs" for name, time, macs in shares)
    yield f"{format_count(len(profile.layers), 'layer')}, {profile.total_us:.0f} us: {'; '.join(parts)}"
    count = sum(layer.is_reformat for layer in profile.layers)
    yield f"reformats: {format_count(count, 'layer')}, {100 * profile.share_of_reformats():.0f} % of the time"
    peaks = ", ".join(f"{value / 1e9:.0f} GMAC/s {name}" for name, value in profile.peaks.macs_per_second.items())
    yield (
        f"bound us: the roofline of this machine, measured: {peaks}, {profile.peaks.bytes_per_second / 1e9:.1f} GB/s. "
        f"The bounds add up to {profile.bound_us:.1f} us. {_error(profile)}"
    )
    yield "Profiling adds to the time of every layer. `edge-msa bench` measures the latency without it."


def _error(profile: LayerProfile) -> str:
    if not profile.bound_us:
        return "No layer has MACs or bytes."
    factor = profile.total_us / profile.bound_us
    return f"The layers take {factor:.1f} times as long, so the bounds do not estimate their time."
