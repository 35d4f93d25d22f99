"""Writes a bundle: the folder that a device runs, self-contained, every file under a hash, whole or not there at all.

A caller that has to choose a precision writes a candidate with all of them first, loads it with the runtime, measures,
and then writes the bundle with what was chosen, and fp32 to fall back on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_msa_export.build import GraphSet
from edge_msa_export.bundle.folders import whole_folder
from edge_msa_export.bundle.readme import bundle_readme
from edge_msa_export.bundle.wheel import write_runtime_wheel
from edge_msa_export.errors import ExportError
from edge_msa_export.request import ExportRequest
from edge_msa_runtime.bundle.manifest import (
    DIGEST_NAME,
    GOLDEN_NAME,
    MANIFEST_NAME,
    SCHEMA,
    GraphSpec,
    Manifest,
    ModalitySpec,
)
from edge_msa_runtime.modalities import MODALITIES


def write_candidate(output_dir: Path, graphs: GraphSet, request: ExportRequest) -> Path:
    """Write a bundle with every precision that was built, for measuring; each backend's default is fp32.

    Raises:
        ExportError: as `write_bundle`.
    """
    return _write(output_dir, _Plan(graphs.specs, graphs, request, _ordered(request, {}), {}))


def write_bundle(
    output_dir: Path,
    graphs: GraphSet,
    request: ExportRequest,
    precision: Mapping[str, str],
    accuracy: Mapping[str, Any],
    kept: Mapping[str, tuple[str, ...]] | None = None,
) -> Path:
    """Write the bundle with each backend's chosen precision, and fp32 beside it.

    Args:
        output_dir: where; an older bundle there is replaced, anything else is left and refused.
        graphs: what `build_graphs` made of the same request.
        request: the request.
        precision: by backend, what the gate let pass.
        accuracy: by backend, precision and subset, the metrics on validation.
        kept: by backend, further precisions that passed the gate, for the device to compare by its own measurement.

    Returns:
        `output_dir`.

    Raises:
        OutputError: `output_dir` holds something that is not a bundle.
        ExportError: a precision that was not built, or a disk that is full; nothing half-written is left.
    """
    others = kept or {}
    specs = tuple(
        spec
        for spec in graphs.specs
        if spec.precision in ("fp32", precision.get(spec.backend), *others.get(spec.backend, ()))
    )
    built = {(spec.backend, spec.precision) for spec in specs}
    for backend in dict.fromkeys(spec.backend for spec in graphs.specs):
        if (backend, precision.get(backend)) not in built:
            reason = graphs.refused.get((backend, precision.get(backend, "")), "it was not built")
            raise ExportError(f"{backend} cannot be given {precision.get(backend)}: {reason}")
    return _write(output_dir, _Plan(specs, graphs, request, _ordered(request, precision), accuracy))


def _ordered(request: ExportRequest, precision: Mapping[str, str]) -> dict[str, str]:
    """The precisions in the target's order of backends, fp32 where none was chosen."""
    return {backend.name: precision.get(backend.name, "fp32") for backend in request.profile.backends}


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle, of any schema, by its manifest and digest; its files are not read."""
    if not (folder / DIGEST_NAME).is_file():
        return False
    try:
        value = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(value, dict) and {"schema", "graphs", "files"} <= set(value)


@dataclass(frozen=True)
class _Plan:
    """What goes into one bundle; `precision` by backend, in order of preference."""

    specs: tuple[GraphSpec, ...]
    graphs: GraphSet
    request: ExportRequest
    precision: Mapping[str, str]
    accuracy: Mapping[str, Any]


def _write(output_dir: Path, plan: _Plan) -> Path:
    with whole_folder(output_dir, is_bundle) as folder:
        for file in sorted(_files(plan)):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(plan.graphs.root / file, folder / file)
        arrays: dict[str, Any] = dict(plan.graphs.golden)
        np.savez_compressed(folder / GOLDEN_NAME, **arrays)
        wheel = write_runtime_wheel(folder)
        manifest = _manifest(plan)
        (folder / "README.md").write_text(bundle_readme(manifest, wheel.name), encoding="utf-8", newline="\n")
        _write_manifest(folder, manifest)
    return output_dir


def _files(plan: _Plan) -> set[str]:
    """What was built that the bundle takes, relative to the root."""
    text = plan.graphs.language
    named = [name for spec in plan.specs for name in (spec.file, spec.weights)]
    return {name for name in named + ([] if text is None else [text.tokenizer, text.table]) if name}


def _manifest(plan: _Plan) -> Manifest:
    """The manifest without hashes, which come last."""
    request, graphs = plan.request, plan.graphs
    return Manifest(
        schema=SCHEMA,
        name=request.name,
        target=request.profile.name,
        profile=request.profile.to_json(),
        task=request.task,
        modalities={name: _modality(name, graphs, request) for name in MODALITIES if name in graphs.facts.dims},
        language=graphs.language,
        backends=tuple(plan.precision),
        precision=dict(plan.precision),
        graphs=plan.specs,
        accuracy=dict(plan.accuracy),
        provenance={**request.provenance, "parity_measured_by": dict(graphs.measured_by)},
        license=request.license,
        files={},
    )


def _modality(name: str, graphs: GraphSet, request: ExportRequest) -> ModalitySpec:
    norm = request.normalization[name]
    return ModalitySpec(
        dim=graphs.facts.dims[name],
        chunk=request.chunks[name],
        window=request.windows[name],
        mean=tuple(float(value) for value in norm.mean),
        std=tuple(float(value) for value in norm.std),
        states=graphs.facts.states[name],
        frame_rate_hz=request.frame_rates.get(name),
    )


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    """Hash every file there is, write the manifest, read it back, and cover it with its own digest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    value = manifest.to_json()
    value["files"] = {path.relative_to(folder).as_posix(): _sha256(path) for path in paths}
    try:
        text = json.dumps(value, indent=1, allow_nan=False) + "\n"
        Manifest.from_json(json.loads(text))
    except (TypeError, ValueError) as error:
        raise ExportError(f"the manifest cannot be written: {error}; provenance and accuracy must be JSON") from error
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8", newline="\n")
    digest = _sha256(folder / MANIFEST_NAME)
    (folder / DIGEST_NAME).write_text(f"{digest}\n", encoding="utf-8", newline="\n")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
