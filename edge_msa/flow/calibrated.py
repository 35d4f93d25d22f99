"""What a calibration run holds for export: ranges, smoothing, and which layers stay float; and the placement told."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.errors import RunError
from edge_msa.runs import Run
from edge_msa_calibrate.placement import place, rule_set_named
from edge_msa_calibrate.sites import owner_of
from edge_msa_export.graph import GraphKey
from edge_msa_export.graph_files import GraphsByKey
from edge_msa_export.request import ExportRequest

RANGES_NAME = "ranges.json"
SMOOTHING_NAME = "smoothing.npz"
FLOAT_NODES_NAME = "float_nodes.json"

Ranges = Mapping[str, tuple[float, float]]
Smoothing = Mapping[str, NDArray[np.float32]]
FloatNodes = Mapping[str, Mapping[str, str]]
"""By rule set, the weights whose layers stay float, each with the reason."""


def write_ranges(work: Path, ranges: Ranges, smoothing: Smoothing) -> None:
    """Write both into a run's folder; no smoothing, no file."""
    plain = {key: (float(low), float(high)) for key, (low, high) in ranges.items()}
    (work / RANGES_NAME).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    if smoothing:
        np.savez(work / SMOOTHING_NAME, **dict(smoothing))  # type: ignore[arg-type]


def read_ranges(run: Run) -> Ranges | None:
    """The ranges of a calibration run; None for a student that was not calibrated.

    Raises:
        RunError: they cannot be read.
    """
    if run.info.kind != "calibration":
        return None
    path = run.path / RANGES_NAME
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {key: (float(low), float(high)) for key, (low, high) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}): calibrate again") from None


def read_smoothing(run: Run) -> Smoothing:
    """The factors of a language front's layers; none of a run without one.

    Raises:
        RunError: they cannot be read.
    """
    path = run.path / SMOOTHING_NAME
    if run.info.kind != "calibration" or not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name], np.float32) for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({error}): calibrate again") from None


def write_float_nodes(work: Path, float_nodes: FloatNodes) -> None:
    """Write them into a run's folder."""
    (work / FLOAT_NODES_NAME).write_text(json.dumps(float_nodes, indent=1) + "\n", encoding="utf-8")


def read_float_nodes(run: Run) -> FloatNodes:
    """What calibrate found too coarse for int8, and sensitivity chose.

    Raises:
        RunError: it cannot be read.
    """
    path = run.path / FLOAT_NODES_NAME
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {rules: {str(name): str(why) for name, why in nodes.items()} for rules, nodes in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}): calibrate again") from None


def carry_placement(source: Run, work: Path) -> None:
    """Copy what INT8 needs of a calibration run into the folder of a run with the same layers."""
    for name in (RANGES_NAME, SMOOTHING_NAME, FLOAT_NODES_NAME):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, work / name)


def explained(request: ExportRequest, graphs: GraphsByKey) -> ExportRequest:
    """The request with `provenance.placement`: by rule set every node that could be int8, whether it is, and why.

    Nodes are those of the window graph of the fullest subset, and of a language front's longest graph: step graphs have
    the same weights, and so the same placement.
    """
    if request.ranges is None:
        return request
    told = {
        engine.rule_set: list(_told(request, engine.rule_set, graphs))
        for engine in request.profile.engines
        if engine.rule_set is not None
    }
    return dataclasses.replace(request, provenance={**request.provenance, "placement": told})


def telling(graphs: GraphsByKey) -> tuple[GraphKey, ...]:
    """The keys of the graphs that between them have every layer once: the fullest window, and the longest front."""
    windows = [key for key in graphs if key.role == "window"]
    fronts = [key for key in graphs if key.role == "front"]
    return tuple(
        [max(keys, key=measure) for keys, measure in ((windows, _fullness), (fronts, _length)) if keys],
    )


def _told(request: ExportRequest, rule_set: str, graphs: GraphsByKey) -> Iterator[dict[str, Any]]:
    seen = {owner_of(key) for key in request.ranges or {}}
    for key in telling(graphs):
        floats = request.float_nodes.get(rule_set, {})
        for item in place(graphs[key], rule_set_named(rule_set), seen, floats).decisions:
            name = f"{item.node} ({item.weight})" if item.weight else item.node
            yield {"node": name, "op": item.op_type, "int8": item.int8, "reason": item.reason}


def _fullness(key: GraphKey) -> int:
    return len(key.scope.partition(".")[0])


def _length(key: GraphKey) -> int:
    return int(key.scope)
