"""The peers of a report: models that were measured beside one of ours, in one run."""

from __future__ import annotations

from collections.abc import Sequence

from edge_msa.benchmark.peer_table import PeerBenchmark, PeerRow, peers_remarks
from edge_msa.reporting.figures import DataInfo, Peer, PeerComparison, Row, Value
from edge_msa_runtime.wording import format_count

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SAME_RUN = ("machine", "threads")
"""Entries of the machine that must be equal, so that ratios of one run apply to latencies of another."""


def compare_peers(
    records: Sequence[tuple[str, PeerBenchmark]], rows: Sequence[Row], data: DataInfo | None
) -> list[PeerComparison]:
    """Return what the page shows of records of `bench peers`.

    Latencies are compared within one run only. A peer is drawn at the p50 of the row that is ours, times the ratio that
    was measured in the run of the peer, with the interval of the ratio. If other programs disturbed that run, ratios of
    medians are biased, so the interval is widened to contain the ratio of the shortest times.

    Args:
        records: File and content of each.
        rows: The rows of the report.
        data: The data of their metrics.
    """
    comparisons: list[PeerComparison] = []
    count = 0
    for file, record in records:
        ours = next(item for item in record.contenders if item.is_ours)
        anchor = _find_row(ours, rows) if _is_comparable(record, data) else None
        if anchor is not None and not _is_same_run(anchor, record, ours):
            anchor = None
        base = ours.latency_ms.get("p50") if anchor is None else anchor.latency_ms[ours.subset]["p50"].value
        contenders = []
        for item in record.contenders:
            row = None if anchor is None else _find_row(item, rows)
            # Without a row that is ours, the record has a chart of its own, with ours.
            drawn = None if base is None or row is not None else _scaled(item, base, noisy=record.is_noisy)
            contenders.append(_peer(item, "" if drawn is None else _letter(count), row, drawn))
            count += drawn is not None
        comparisons.append(
            PeerComparison(
                file=file,
                dataset=record.dataset,
                digest=record.digest,
                split=record.split,
                samples=record.samples,
                predictions=record.predictions,
                row=None if anchor is None else anchor.id,
                contenders=contenders,
                machine=dict(record.machine),
                noisy=record.is_noisy,
                notes=list(peers_remarks(record)),
            )
        )
    return comparisons


def describe_peers(comparison: PeerComparison) -> str:
    """Return how many of the other models are slower and faster than ours for certain, as a sentence."""
    ratios = [item.ratio for item in comparison.contenders if not item.is_ours and item.ratio is not None]
    known = [
        _widened(ratio.low, ratio.high, item.min_ratio if comparison.noisy else None)
        for item in comparison.contenders
        if not item.is_ours and (ratio := item.ratio) is not None and ratio.low is not None and ratio.high is not None
    ]
    if not ratios:
        return "No other model was measured."
    if not known:
        return "No ratio has an interval, so no model is faster or slower for certain. Measure with more --repeats."
    slower, faster = sum(low > 1.0 for low, _ in known), sum(high < 1.0 for _, high in known)
    parts = [f"{slower} slower than ours", f"{faster} faster", f"{len(known) - slower - faster} not different"]
    if len(known) < len(ratios):
        parts.append(f"{len(ratios) - len(known)} without an interval")
    intervals = "the 95 % intervals of p50 / ours" + (" and by min / ours" if comparison.noisy else "")
    return f"Of {format_count(len(ratios), 'other model')}: {', '.join(parts)}, by {intervals}."


def peer_title(peer: Peer) -> str:
    """Return a model for people."""
    return f"{peer.name}, {peer.backend}, {peer.precision.partition(':')[0]}"


def _letter(index: int) -> str:
    """Return A to Z, then AA, AB and so on."""
    first, last = divmod(index, len(_LETTERS))
    return (_LETTERS[first - 1] if first else "") + _LETTERS[last]


def _is_comparable(record: PeerBenchmark, data: DataInfo | None) -> bool:
    return data is not None and (record.digest, record.split) == (data.digest, data.split)


def _find_row(item: PeerRow, rows: Sequence[Row]) -> Row | None:
    return next(
        (
            row
            for row in rows
            if (row.name, row.backend) == (item.name, item.backend)
            and item.precision in {row.precision_title, row.precision}
            and row.latency_ms.get(item.subset, {}).get("p50") is not None
        ),
        None,
    )


def _is_same_run(row: Row, record: PeerBenchmark, ours: PeerRow) -> bool:
    return bool(ours.latency_ms) and all(row.machine.get(name) == record.machine.get(name) for name in _SAME_RUN)


def _scaled(item: PeerRow, base: float, *, noisy: bool) -> Value | None:
    ratio = item.ratio
    if ratio is None:
        return None
    if ratio.low is None or ratio.high is None:
        return Value(value=base * ratio.value)
    low, high = _widened(ratio.low, ratio.high, item.min_ratio if noisy else None)
    return Value(value=base * ratio.value, low=base * low, high=base * high)


def _widened(low: float, high: float, value: float | None) -> tuple[float, float]:
    """Return the interval that also contains a value."""
    return (low, high) if value is None else (min(low, value), max(high, value))


def _peer(item: PeerRow, label: str, row: Row | None, drawn: Value | None) -> Peer:
    ratio = item.ratio
    metrics = {}
    for name, value in item.metrics.items():
        low, high = item.intervals.get(name, (None, None))
        metrics[name] = Value(value=value, low=low, high=high)
    return Peer(
        label=label,
        name=item.name,
        kind=item.kind,
        backend=item.backend,
        precision=item.precision,
        subset=item.subset,
        is_ours=item.is_ours,
        row=None if row is None else row.id,
        size_bytes=item.size_bytes,
        p50_ms=item.latency_ms.get("p50"),
        ratio=None if ratio is None else Value(value=ratio.value, low=ratio.low, high=ratio.high),
        min_ratio=item.min_ratio,
        drawn_ms=drawn,
        metrics=metrics,
        differences={
            name: Value(value=difference.value, low=difference.low, high=difference.high)
            for name, difference in item.differences.items()
        },
        note=item.note,
    )
