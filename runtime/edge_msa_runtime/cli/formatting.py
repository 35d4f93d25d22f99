"""What the command line shows to people, as lines."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from edge_msa_runtime.benchmark.conditions import conditions_line
from edge_msa_runtime.bundle.reader import open_bundle

if TYPE_CHECKING:
    from edge_msa_runtime.benchmark.bench import BenchResult
    from edge_msa_runtime.bundle.golden import Verification
    from edge_msa_runtime.bundle.reader import Bundle
    from edge_msa_runtime.prediction import Prediction

_KILOBYTE, _MEGABYTE = 1e3, 1e6


def describe(path: str) -> dict[str, Any]:
    """A verified bundle in plain JSON values: name, target, task, modalities, and each backend with its precisions.

    `bytes` of a backend: by precision, the files that it needs, each once, words' tokenizer and table left out; those
    are `bytes` of `language`, and needed beside them.

    Raises:
        UsageError, BundleError: as `open_bundle`.
    """
    bundle = open_bundle(path)
    manifest = bundle.manifest
    backends = [
        {
            "name": name,
            "installed": importlib.util.find_spec(name) is not None,
            "precision": manifest.precision.get(name),
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
        "labels": list(manifest.task.labels),
        "modalities": {
            name: {"dim": spec.dim, "chunk": spec.chunk, "window": spec.window, "frame_rate_hz": spec.frame_rate_hz}
            for name, spec in manifest.modalities.items()
        },
        "language": _language(bundle),
        "backends": backends,
        "license": manifest.license,
        "files": len(manifest.files),
    }


def _language(bundle: Bundle) -> dict[str, Any] | None:
    text = bundle.manifest.language
    if text is None:
        return None
    installed = importlib.util.find_spec("tokenizers") is not None
    size = bundle.size(bundle.text_files)
    return {"text_encoder": text.text_encoder, "max_tokens": text.max_tokens, "installed": installed, "bytes": size}


def info_lines(told: Mapping[str, Any]) -> list[str]:
    """What `describe` told."""
    labels = f" ({', '.join(told['labels'])})" if told["labels"] else ""
    lines = [f"{told['name']} for {told['target']}: {told['task']}{labels}, {told['files']} files verified"]
    for name, spec in told["modalities"].items():
        rate = f", {spec['frame_rate_hz']:g} Hz" if spec["frame_rate_hz"] else ""
        lines.append(f"  {name:9} {spec['dim']} features, step of {spec['chunk']}, window of {spec['window']}{rate}")
    if told["language"]:
        words = told["language"]
        state = "installed" if words["installed"] else "not installed"
        size = f"{words['bytes'] / _KILOBYTE:.1f} KB"
        lines.append(
            f"  words by a {words['text_encoder']}, {words['max_tokens']} tokens at most, {size}; tokenizers {state}"
        )
    for backend in told["backends"]:
        sizes = ", ".join(f"{name} {size / _KILOBYTE:.1f} KB" for name, size in backend["bytes"].items())
        state = "installed" if backend["installed"] else "not installed"
        lines.append(f"  {backend['name']:12} {state:14} chosen {backend['precision']}; has {sizes or 'no graphs'}")
    return [*lines, f"license: {told['license']}"]


def verification_lines(found: Verification) -> list[str]:
    """One line a check, and the whole."""
    lines = [f"{'subset':7}{'route':9}{'difference':>12}{'allowed':>12}"]
    for check in found.checks:
        mark = "" if check.passed else "  FAILED"
        lines.append(f"{check.subset:7}{check.route:9}{check.difference:12.2e}{check.tolerance:12.2e}{mark}")
    held = sum(check.passed for check in found.checks)
    executed = f"{found.backend} on {found.device} at {found.precision}"
    largest = f"largest difference {found.largest.difference:.2e}"
    whole = (
        f"every byte verified; {held} of {len(found.checks)} golden predictions came back with {executed}, {largest}"
    )
    return [*lines, whole]


def prediction_lines(prediction: Prediction) -> list[str]:
    """A prediction in two lines, or one more an emotion."""
    score = "" if prediction.score is None else f"{prediction.score:+.4f} "
    lines = [f"{score}{prediction.label}".strip()]
    lines.extend(f"  {label:12} {probability:.3f}" for label, probability in prediction.probabilities.items())
    executed = f"{prediction.backend} on {prediction.device} at {prediction.precision}"
    return [*lines, f"from {prediction.subset} with {executed} in {prediction.milliseconds:.3f} ms"]


def bench_lines(results: Sequence[BenchResult]) -> list[str]:
    """A table a session."""
    lines = []
    for result in results:
        peak = "unknown" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / _MEGABYTE:.0f} MB"
        lines.append(
            f"{result.bundle} for {result.target}: {result.backend} on {result.device} at {result.precision}, "
            f"{result.threads} thread(s); load {result.load_milliseconds:.0f} ms, "
            f"files {result.file_bytes / _KILOBYTE:.1f} KB, peak memory of the process {peak}"
        )
        lines.append(f"  {'subset':7}{'p50 ms':>9}{'p90 ms':>9}{'p99 ms':>9}  predictions, frames")
        for row in result.latencies:
            p99 = "-" if row.p99 is None else f"{row.p99:.3f}"
            frames = " ".join(f"{name}:{count}" for name, count in row.frames.items())
            words = ", from words" if row.words else ""
            lines.append(f"  {row.subset:7}{row.p50:9.3f}{row.p90:9.3f}{p99:>9}  {row.count}, {frames}{words}")
    if results:
        rate = results[0].rate_hz
        arrivals = (
            "one prediction after the other" if rate is None else f"predictions due at {rate:g} Hz, from when each was"
        )
        lines += [
            f"{arrivals}; before: {conditions_line(results[0].before)}",
            f"after: {conditions_line(results[0].after)}",
        ]
    return lines
