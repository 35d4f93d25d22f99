"""Writes a bundle: a self-contained folder with a hash for every file, written atomically.

To choose a precision, write a candidate with all precisions, load it with the runtime and measure it. Then write the
bundle with the chosen precision, plus fp32 to fall back on.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.readme import format_readme
from edge_msa_export.bundle.wheel import write_runtime_wheel
from edge_msa_export.errors import ExportError
from edge_msa_export.folders import atomic_folder
from edge_msa_export.profiles import INT4
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.hashing import file_sha256
from edge_msa_runtime.bundle.manifest import (
    DIGEST_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    SCHEMA,
    GraphSpec,
    Manifest,
    ModalitySpec,
)
from edge_msa_runtime.classes import ClassCalibration
from edge_msa_runtime.conformal import Tables, Thresholds
from edge_msa_runtime.features import UNKNOWN
from edge_msa_runtime.intervals import Intervals
from edge_msa_runtime.modalities import MODALITIES


def write_candidate(output_dir: Path, graphs: GraphSet, request: ExportRequest) -> Path:
    """Write a bundle with every precision that was built, to measure them. The default of each backend is fp32.

    Raises:
        ExportError: as `write_bundle`.
    """
    return _write(output_dir, _BundleContent(graphs.specs, graphs, request, _order_precisions(request, {}), {}))


def write_bundle(
    output_dir: Path,
    graphs: GraphSet,
    request: ExportRequest,
    precision: Mapping[str, str],
    accuracy: Mapping[str, Any],
    also_passed: Mapping[str, tuple[str, ...]] | None = None,
    intervals: Intervals | None = None,
    class_calibration: ClassCalibration | None = None,
) -> Path:
    """Write a bundle with the chosen precision of each backend, plus fp32.

    Args:
        output_dir: destination. An older bundle there is replaced; any other content is an error.
        graphs: the graphs that `build_graphs` built for the same request.
        request: what to export.
        precision: chosen precision, by backend.
        accuracy: metrics on the validation split, by backend, precision and subset.
        also_passed: further precisions that passed the accuracy gate, by backend. The bundle includes them so that they
            can be compared on the device.
        intervals: half widths of the intervals of predictions, also of precisions that the bundle will not have.
        class_calibration: temperature and prediction sets of classes, likewise.

    Returns:
        `output_dir`.

    Raises:
        OutputError: `output_dir` contains something that is not a bundle.
        ExportError: a chosen precision was not built, or the disk is full. No partial output remains.
    """
    others = also_passed or {}
    specs = tuple(
        spec
        for spec in graphs.specs
        if spec.precision in ("fp32", precision.get(spec.backend), *others.get(spec.backend, ()))
    )
    built = {(spec.backend, spec.precision) for spec in specs}
    for backend in dict.fromkeys(spec.backend for spec in graphs.specs):
        chosen = precision.get(backend, "")
        if (backend, chosen) not in built:
            reason = graphs.refused.get((backend, chosen), "it was not built")
            raise ExportError(f"Precision {chosen or 'none'} is not available for {backend}: {reason}.")
    if intervals is not None:
        intervals = replace(
            intervals,
            half_widths=_select_tables(intervals.half_widths, built),
            half_widths_with_context=_select_tables(intervals.half_widths_with_context, built),
        )
    if class_calibration is not None and class_calibration.sets is not None:
        sets = class_calibration.sets
        sets = replace(sets, thresholds=_select_tables(sets.thresholds, built))
        class_calibration = replace(class_calibration, sets=sets)
    content = _BundleContent(
        specs,
        graphs,
        request,
        _order_precisions(request, precision),
        dict(accuracy),
        intervals,
        class_calibration,
    )
    return _write(output_dir, content)


def _select_tables(tables: Tables, built: Collection[tuple[str, str]]) -> dict[str, dict[str, Thresholds]]:
    """Return the thresholds of the backends and precisions that a bundle has."""
    selected = {
        backend: {name: table for name, table in precisions.items() if (backend, name) in built}
        for backend, precisions in tables.items()
    }
    return {backend: precisions for backend, precisions in selected.items() if precisions}


def is_bundle(folder: Path) -> bool:
    """Return whether a folder contains a manifest and its digest, of any schema. Other files are not checked."""
    if not (folder / DIGEST_NAME).is_file():
        return False
    try:
        value = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and {"schema", "graphs", "files"} <= set(value)


@dataclass(frozen=True)
class _BundleContent:
    """What goes into one bundle. `precision` is by backend, in order of preference."""

    specs: tuple[GraphSpec, ...]
    graphs: GraphSet
    request: ExportRequest
    precision: Mapping[str, str]
    accuracy: Mapping[str, Any]
    intervals: Intervals | None = None
    class_calibration: ClassCalibration | None = None


def _order_precisions(request: ExportRequest, precision: Mapping[str, str]) -> dict[str, str]:
    """Return a precision for every backend of the device, in order of preference; fp32 if none was chosen."""
    return {backend.name: precision.get(backend.name, "fp32") for backend in request.profile.backends}


def _write(output_dir: Path, content: _BundleContent) -> Path:
    with atomic_folder(output_dir, is_bundle) as folder:
        for file in sorted(_list_built_files(content)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(content.graphs.root / file, folder / file)
        arrays: dict[str, Any] = dict(content.graphs.golden)
        np.savez_compressed(folder / GOLDEN_NAME, **arrays)
        wheel = write_runtime_wheel(folder)
        manifest = _make_manifest(content)
        (folder / "README.md").write_text(format_readme(manifest, wheel.name), encoding="utf-8", newline="\n")
        write_manifest(folder, manifest)
    return output_dir


def _list_built_files(content: _BundleContent) -> set[str]:
    """Return the files of the graphs and the text model, relative to the root of the graph set."""
    text = content.graphs.language
    files = [file for spec in content.specs for file in (spec.file, spec.weights)]
    return {file for file in files + ([] if text is None else [text.tokenizer, text.table]) if file}


def _make_manifest(content: _BundleContent) -> Manifest:
    """Return the manifest without the hashes of the files."""
    request, graphs = content.request, content.graphs
    return Manifest(
        schema=SCHEMA,
        name=request.name,
        target=request.profile.name,
        profile=request.profile.to_json(),
        task=request.task,
        modalities={
            name: _make_modality_spec(name, graphs, request) for name in MODALITIES if name in graphs.shapes.dims
        },
        language=graphs.language,
        backends=tuple(content.precision),
        precision=dict(content.precision),
        graphs=content.specs,
        int8={
            scheme: layers.share
            for scheme, layers in graphs.int8_layers.items()
            if any(spec.scheme == scheme for spec in content.specs)
        },
        int4=_int4_share(content),
        intervals=content.intervals,
        context=request.context,
        accuracy=content.accuracy,
        provenance=replace(request.provenance, parity_measured_by=dict(graphs.measured_by)).to_json(),
        license=request.license,
        files={},
        class_calibration=content.class_calibration,
    )


def _int4_share(content: _BundleContent) -> float | None:
    """Return the share of the parameters that the bundle's int4 graphs store in 4 bits, or None without such graphs."""
    parameters = content.request.provenance.parameters
    if not parameters or not any(spec.precision == INT4 for spec in content.specs):
        return None
    return content.graphs.int4_parameters / parameters


def _make_modality_spec(name: str, graphs: GraphSet, request: ExportRequest) -> ModalitySpec:
    normalization = request.normalization[name]
    return ModalitySpec(
        dim=graphs.shapes.dims[name],
        chunk=request.chunks[name],
        window=request.windows[name],
        states=graphs.shapes.states[name],
        max_norm=None if math.isinf(normalization.norm) else normalization.norm,
        features=request.features.get(name, UNKNOWN),
        gap_frame=normalization.mean_frame if name in graphs.shapes.gap_frames else None,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash every file in the folder, write the manifest, parse it again, and write its digest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in paths}
    try:
        text = json.dumps(replace(manifest, files=files).to_json(), indent=1, allow_nan=False) + "\n"
        Manifest.from_json(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ExportError(f"The manifest cannot be written: {error}. Accuracy and provenance must be JSON.") from error
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8", newline="\n")
    digest = file_sha256(folder / MANIFEST_NAME)
    (folder / DIGEST_NAME).write_text(f"{digest}\n", encoding="utf-8", newline="\n")
