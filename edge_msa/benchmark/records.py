"""From what the runtime's bench measured, here or on a device, to a record that the report reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_msa.reporting import BenchRecord
from edge_msa_runtime.benchmark.conditions import conditions_line
from edge_msa_runtime.bundle.reader import Bundle


def record_of(
    bundle: Bundle,
    result: Mapping[str, Any],
    alone: Mapping[str, Any],
    versions: Mapping[str, str],
    *,
    on_target: bool,
    note: str = "",
) -> BenchRecord:
    """The record of one session.

    Args:
        bundle: what was measured.
        result: a `BenchResult` as JSON, of a run with all sessions in turns.
        alone: another, of a process of its own: its load time and memory count.
        versions: what to tell beside the machine, as versions of packages.
        on_target: whether the machine is of the target's kind.
        note: for people.
    """
    manifest, backend, precision = bundle.manifest, result["backend"], result["precision"]
    parity = [spec.parity for spec in manifest.graphs if (spec.backend, spec.precision) == (backend, precision)]
    peak = alone["peak_memory_bytes"]
    return BenchRecord(
        name=manifest.name,
        target=manifest.target,
        backend=backend,
        precision=precision,
        device=result["device"],
        latency_ms={
            row["subset"]: {name: row[name] for name in ("p50", "p90", "p99") if row[name] is not None}
            for row in result["latencies"]
        },
        size_bytes=result["file_bytes"],
        load_ms=alone["load_milliseconds"],
        peak_memory_mib=None if peak is None else peak / 2**20,
        parity=max(parity, default=None),
        chosen=manifest.precision.get(backend) == precision,
        on_target=on_target,
        note=note,
        machine={**result["machine"], **versions, backend: result["backend_version"], **_how(result)},
    )


def _how(result: Mapping[str, Any]) -> dict[str, str]:
    """Threads, arrivals, and what clocks and temperatures did meanwhile."""
    paced = {} if result["rate_hz"] is None else {"rate_hz": f"{result['rate_hz']:g}"}
    state = {name: conditions_line(result[name]) for name in ("before", "after") if result[name]}
    return {"threads": str(result["threads"]), **paced, **state}
