"""The layers of a report: where the time of a graph goes, beside the roofline of the machine."""

from __future__ import annotations

from edge_msa.benchmark.layer_profile import LayerProfile
from edge_msa.reporting.figures import LayerShare, LayerTime, LayerTimes

REFORMAT = "reformat"


def layer_times(file: str, profile: LayerProfile) -> LayerTimes:
    """Return what the page shows of a record of `bench layers`."""
    layers = [
        LayerTime(
            name=item.name,
            type=item.type,
            precision=item.precision,
            time_us=item.time_us,
            bound_us=profile.peaks.bound_us(item.precision, item.macs, item.bytes),
            macs=item.macs,
            bytes=item.bytes,
            is_reformat=item.is_reformat,
            kernel=item.kernel,
        )
        for item in profile.layers
    ]
    # Backends state whole microseconds: a layer with the time 0 has no factor.
    factors = [item.time_us / item.bound_us for item in layers if item.bound_us and item.time_us]
    return LayerTimes(
        file=file,
        name=profile.name,
        target=profile.target,
        backend=profile.backend,
        precision=profile.precision,
        device=profile.device,
        subset=profile.subset,
        layers=layers,
        shares=_shares(profile),
        total_us=profile.total_us,
        bound_us=profile.bound_us,
        times_bound=profile.total_us / profile.bound_us if profile.bound_us else None,
        least_times_bound=min(factors, default=None),
        most_times_bound=max(factors, default=None),
        macs_per_second=dict(profile.peaks.macs_per_second),
        bytes_per_second=profile.peaks.bytes_per_second,
        machine=dict(profile.machine),
    )


def share_name(layer: LayerTime) -> str:
    """Return the share that a layer counts to: its precision, or `reformat`."""
    return REFORMAT if layer.is_reformat else layer.precision


def _shares(profile: LayerProfile) -> list[LayerShare]:
    total_macs = sum(layer.macs for layer in profile.layers)
    groups: dict[str, list[int]] = {}
    for index, layer in enumerate(profile.layers):
        groups.setdefault(REFORMAT if layer.is_reformat else layer.precision, []).append(index)
    shares = []
    for name, indices in groups.items():
        members = [profile.layers[index] for index in indices]
        time, macs = sum(layer.time_us for layer in members), sum(layer.macs for layer in members)
        shares.append(
            LayerShare(
                name=name,
                layers=len(members),
                time=time / profile.total_us if profile.total_us else 0.0,
                macs=macs / total_macs if total_macs else 0.0,
            )
        )
    return sorted(shares, key=lambda share: -share.time)
