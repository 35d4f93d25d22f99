"""What a calibration run holds for export: ranges, smoothing, and which layers stay float; and the plan told."""

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

from edge_msa.artifacts.runs import Run
from edge_msa.errors import RunError
from edge_msa_calibrate.layers import encoder_of
from edge_msa_calibrate.plan import make_plan
from edge_msa_calibrate.schemes import scheme_named
from edge_msa_export.graphs.files import GraphsByKey
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.manifest import GraphKey

RANGES_NAME = "ranges.json"
SMOOTHING_NAME = "smoothing.npz"
FP32_WEIGHTS_NAME = "fp32_weights.json"

Ranges = Mapping[str, tuple[float, float]]
Smoothing = Mapping[str, NDArray[np.float32]]
Fp32Weights = Mapping[str, Mapping[str, str]]
"""By quantization scheme, the weights whose layers stay float, each with the reason."""


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
    """The factors of a language text encoder's layers; none of a run without one.

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


def write_fp32_weights(work: Path, fp32_weights: Fp32Weights) -> None:
    """Write them into a run's folder."""
    (work / FP32_WEIGHTS_NAME).write_text(json.dumps(fp32_weights, indent=1) + "\n", encoding="utf-8")


def read_fp32_weights(run: Run) -> Fp32Weights:
    """What calibrate found too coarse for int8, and sensitivity chose.

    Raises:
        RunError: it cannot be read.
    """
    path = run.path / FP32_WEIGHTS_NAME
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {rules: {str(name): str(why) for name, why in nodes.items()} for rules, nodes in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(f"{path} cannot be read ({error}): calibrate again") from None


def copy_mixed_precision_plan(source: Run, work: Path) -> None:
    """Copy what INT8 needs of a calibration run into the folder of a run with the same layers."""
    for name in (RANGES_NAME, SMOOTHING_NAME, FP32_WEIGHTS_NAME):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, work / name)


def explained(request: ExportRequest, graphs: GraphsByKey) -> ExportRequest:
    """The request with `provenance.plan`: by quantization scheme every node that could be int8, whether it is, and why.

    Nodes are those of the window graph of the fullest subset, and of a language text encoder's longest graph: step graphs have
    the same weights, and so the same plan.
    """
    if request.ranges is None:
        return request
    told = {
        backend.scheme: list(_told(request, backend.scheme, graphs))
        for backend in request.profile.backends
        if backend.scheme is not None
    }
    return dataclasses.replace(request, provenance={**request.provenance, "plan": told})


def telling(graphs: GraphsByKey) -> tuple[GraphKey, ...]:
    """The keys of the graphs that between them have every layer once: the fullest window, and the longest text encoder."""
    windows = [key for key in graphs if key.role == "window"]
    text_encoders = [key for key in graphs if key.role == "text_encoder"]
    return tuple(
        [max(keys, key=measure) for keys, measure in ((windows, _fullness), (text_encoders, _length)) if keys],
    )


def _told(request: ExportRequest, scheme: str, graphs: GraphsByKey) -> Iterator[dict[str, Any]]:
    seen = {encoder_of(key) for key in request.ranges or {}}
    for key in telling(graphs):
        floats = request.fp32_weights.get(scheme, {})
        for item in make_plan(graphs[key], scheme_named(scheme), seen, floats).decisions:
            name = f"{item.node} ({item.weight})" if item.weight else item.node
            yield {"node": name, "op": item.op_type, "int8": item.int8, "reason": item.reason}


def _fullness(key: GraphKey) -> int:
    return len(key.modalities)


def _length(key: GraphKey) -> int:
    return key.length or 0
