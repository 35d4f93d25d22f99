"""`edge-msa-run info`: show what a bundle contains and which of its backends are installed."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any, Mapping

from edge_msa_runtime.backend_info import BACKEND_INFO
from edge_msa_runtime.bundle.signature import read_release
from edge_msa_runtime.cli.common import (
    KILOBYTE,
    add_bundle_or_pretrained,
    add_command,
    add_general_options,
    print_notes,
    print_result,
)
from edge_msa_runtime.errors import PackageImportError
from edge_msa_runtime.features import FeatureSource
from edge_msa_runtime.vendor_packages import import_package, package_version
from edge_msa_runtime.wording import format_count

if TYPE_CHECKING:
    from pathlib import Path

    from edge_msa_runtime.bundle.loader import Bundle
    from edge_msa_runtime.conformal import Calibration


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "info",
        "Show what a bundle contains and which of its backends can be imported.",
        "info bundle-laptop",
    )
    add_bundle_or_pretrained(parser)
    add_general_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.cascade.loader import is_cascade

    if is_cascade(options.bundle):
        description = describe_cascade(options.bundle)
        lines = _format_cascade(description)
    else:
        description = describe_bundle(options.bundle)
        lines = _format_description(description)
    lines += _format_release(description["release"])
    print_notes(description["notes"])
    print_result(lines, description, options)


def describe_cascade(path: str) -> dict[str, Any]:
    """Verify a cascade and describe it in plain JSON values. `members` are as `describe_bundle` describes bundles.

    Raises:
        BundleError: the cascade is damaged.
    """
    from edge_msa_runtime.cascade.loader import open_cascade

    folder = open_cascade(path)
    manifest = folder.manifest
    return {
        "name": manifest.name,
        "routes": {
            subset: {
                "costs": list(route.costs),
                "mean_cost": route.mean_cost,
                "thresholds": [stage.threshold for stage in route.stages],
                "shares": [stage.share for stage in route.stages],
            }
            for subset, route in manifest.routes.items()
        },
        "coverages": list(manifest.coverages),
        "members": {member.name: _describe(bundle) for member, bundle in zip(manifest.members, folder.members)},
        "release": _describe_release(folder.path),
        "notes": list(folder.notes),
    }


def describe_bundle(path: str) -> dict[str, Any]:
    """Verify a bundle and describe it in plain JSON values.

    `bytes` of a backend is the size of its graphs and weights per precision. The tokenizer and embedding table, which
    text input needs in addition, are `bytes` of `language`.

    Raises:
        UsageError: the folder does not exist or is not a bundle.
        BundleError: the bundle is damaged.
    """
    from edge_msa_runtime.bundle.loader import open_bundle

    return _describe(open_bundle(path))


def _describe(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    classes = manifest.class_calibration
    backends = [
        {
            "name": name,
            **_import_state(BACKEND_INFO[name].package),
            "precision": manifest.precision.get(name),
            "precisions": {item: manifest.describe_precision(name, item) for item in bundle.precisions(name)},
            "bytes": {
                precision: bundle.size(bundle.graph_files(name, precision)) for precision in bundle.precisions(name)
            },
        }
        for name in manifest.backends
    ]
    return {
        "name": manifest.name,
        "target": manifest.target,
        "task": manifest.task.kind,
        "scale": [manifest.task.low, manifest.task.high],
        "data": _data_name(manifest.provenance),
        "labels": list(manifest.task.labels),
        "modalities": {
            name: {
                "dim": spec.dim,
                "chunk": spec.chunk,
                "window": spec.window,
                "gap_frames": spec.gap_frame is not None,
                "features": dataclasses.asdict(spec.features),
            }
            for name, spec in manifest.modalities.items()
        },
        "language": _describe_text_input(bundle),
        "intervals": _describe_tables(manifest.intervals),
        "temperature": None if classes is None else classes.temperature,
        "prediction_sets": None if classes is None else _describe_tables(classes.sets),
        "context": _describe_context(bundle),
        "backends": backends,
        "license": manifest.license,
        "files": len(manifest.files),
        "release": _describe_release(bundle.path),
        "notes": list(bundle.notes),
    }


def _describe_release(folder: Path) -> dict[str, Any] | None:
    release = read_release(folder)
    return None if release is None else release.to_json()


def _format_release(release: Mapping[str, Any] | None) -> list[str]:
    if release is None:
        return []
    expires = "" if release["expires"] is None else f", expires on {release['expires']}"
    return [f"  release {release['version']}{expires}; edge-msa-run verify --trusted-keys verifies its signature"]


def _data_name(provenance: Mapping[str, Any]) -> str | None:
    """Return the name of the training data, or None if the provenance, which is in free form, does not state it."""
    data = provenance.get("data")
    return str(data["name"]) if isinstance(data, dict) and "name" in data else None


def _describe_text_input(bundle: Bundle) -> dict[str, Any] | None:
    text = bundle.manifest.language
    if text is None:
        return None
    size = bundle.size(bundle.text_files)
    return {
        "text_encoder": text.text_encoder,
        "max_tokens": text.max_tokens,
        "context": text.context,
        **_import_state("tokenizers"),
        "bytes": size,
    }


def _describe_tables(calibration: Calibration | None) -> dict[str, Any] | None:
    return None if calibration is None else {"coverages": list(calibration.coverages), "videos": calibration.videos}


def _describe_context(bundle: Bundle) -> dict[str, Any] | None:
    head = bundle.manifest.context
    if head is None:
        return None
    return {"subsets": list(head.subsets), "utterances": head.utterances, "videos": head.videos}


def _import_state(package: str) -> dict[str, Any]:
    """Import a package. `problem` says why it is installed but cannot be imported, and `installed` is then false."""
    try:
        version = str(getattr(import_package(package), "__version__", "unknown version")).partition("-")[0]
    except PackageImportError as error:
        problem = None if package_version(package) is None else str(error)
        return {"installed": False, "version": None, "problem": problem}
    return {"installed": True, "version": version, "problem": None}


def _format_description(description: Mapping[str, Any]) -> list[str]:
    labels = f" ({', '.join(description['labels'])})" if description["labels"] else ""
    predicts = description["task"] if description["task"] in {"classes", "emotions"} else "sentiment"
    low, high = description["scale"]
    scale = "" if low is None or high is None else f" from {low:g} to {high:g}"
    data = f", trained on {description['data']}" if description["data"] else ""
    title = f"{description['name']} for {description['target']}: {predicts}{scale}{labels}{data}"
    lines = [f"{title}, {description['files']} files verified"]
    for name, spec in description["modalities"].items():
        gaps = ", gap frames" if spec["gap_frames"] else ""
        lines.append(
            f"  {name:9} {spec['dim']} features, chunks of {spec['chunk']}, window of {spec['window']} frames{gaps}"
        )
        lines.append(f"            features: {FeatureSource(**spec['features']).describe()}")
    if description["modalities"]:
        lines.append("            input longer than a window is processed completely, chunk by chunk, as in a stream")
    text = description["language"]
    if text:
        size = f"{text['bytes'] / KILOBYTE:.1f} KB"
        earlier = f" with {format_count(text['context'], 'earlier utterance')}" if text["context"] else ""
        lines.append(
            f"  text      {text['text_encoder']} encoder, up to {text['max_tokens']} tokens{earlier}, {size}, "
            f"tokenizers {_format_import_state(text)}"
        )
    if description["temperature"] is not None:
        lines.append(f"  probabilities at temperature {description['temperature']:.3g}")
    for name in ("intervals", "prediction_sets"):
        stated = description[name]
        if stated:
            low, high = stated["coverages"][0], stated["coverages"][-1]
            lines.append(
                f"  {name.replace('_', ' ')} for coverages from {low:g} to {high:g}, calibrated on {stated['videos']} "
                "videos"
            )
    context = description["context"]
    if context:
        fitted = f"fitted on {context['utterances']} utterances of {context['videos']} videos"
        lines.append(f"  conversation memory for {', '.join(context['subsets'])}, {fitted}")
    for backend in description["backends"]:
        titles = backend["precisions"]
        sizes = ", ".join(f"{titles[name]} {size / KILOBYTE:.1f} KB" for name, size in backend["bytes"].items())
        lines.append(
            f"  {backend['name']:12} {_format_import_state(backend):14} default {backend['precision']}, "
            f"available: {sizes or 'no graphs'}"
        )
    problems = [state["problem"] for state in (*description["backends"], text or {}) if state.get("problem")]
    return [*lines, f"license: {description['license']}", *(f"problem: {problem}" for problem in problems)]


def _format_cascade(description: Mapping[str, Any]) -> list[str]:
    names = list(description["members"])
    lines = [f"{description['name']}: a cascade of {', then '.join(names)}"]
    for subset, route in description["routes"].items():
        costs = ", ".join(f"{name} {100 * cost:.3g} %" for name, cost in zip(names, route["costs"]))
        lines.append(f"  {subset:9} mean time {100 * route['mean_cost']:.0f} % of {names[-1]} alone (each: {costs})")
        lines += [
            f"            {after} is asked if the spread of {before} is more than {threshold:.3g}"
            for before, after, threshold in zip(names, names[1:], route["thresholds"])
            if threshold is not None
        ]
    for bundle in description["members"].values():
        lines += _format_description(bundle)
    return lines


def _format_import_state(state: Mapping[str, Any]) -> str:
    if state["problem"] is not None:
        return "cannot be imported"
    return str(state["version"]) if state["installed"] else "not installed"
