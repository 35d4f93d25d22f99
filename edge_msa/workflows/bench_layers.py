"""`edge-msa bench layers`: where the time of a bundle's graph goes."""

from __future__ import annotations

import json

from edge_msa.arguments import AnyPath, check_count, path_of
from edge_msa.artifacts.files import write_text
from edge_msa.benchmark.layer_profile import LayerProfile
from edge_msa.benchmark.layers import PROFILED_BACKENDS, measure_peaks, profile_layers
from edge_msa.benchmark.machine import describe_machine, unavailable_reason
from edge_msa.console import activity
from edge_msa.errors import BackendUnavailableError, UsageError
from edge_msa.workflows.api import OnProgress, api
from edge_msa.workflows.outputs import output_file
from edge_msa_runtime.bundle.loader import Bundle, open_bundle
from edge_msa_runtime.bundle.manifest import GraphKey
from edge_msa_runtime.modalities import subsets_of


@api
def bench_layers(
    bundle: AnyPath,
    *,
    backend: str = "auto",
    precision: str | None = None,
    threads: int = 1,
    repeats: int = 100,
    output: AnyPath | None = None,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress | None = None,
) -> LayerProfile:
    """Measure time, MACs, bytes and precision of every layer that a backend executes, beside this machine's roofline.

    The graph is that of all modalities of the bundle, for its longest window.

    Args:
        bundle: The bundle.
        backend: `"openvino"` or `"onnxruntime"` (default: the bundle's first backend that is available here).
        precision: Precision of the graph (default: the one that `export` chose).
        threads: CPU threads, 1 to 256.
        repeats: Number of profiled runs.
        output: JSON file to write, for `report`.
        overwrite: Whether to replace an existing file.
        verbose: Whether to print progress and notes.
        on_progress: Not called.

    Returns:
        The profile, as a table with one row per layer.

    Raises:
        UsageError: The path is no bundle, or the bundle has no such graphs.
        BackendUnavailableError: No backend of the bundle that can be profiled is available here.

    Examples:
        >>> profile = em.bench_layers("bundle", backend="onnxruntime", precision="int8")
        >>> print(profile)
    """
    path = path_of(bundle, "bundle", "a bundle or the path of one")
    check_count(threads, "threads", most=256)
    check_count(repeats, "repeats")
    output_path = None if output is None else output_file(output, "output", [path])
    opened = open_bundle(path)
    chosen = _choose_backend(opened, backend)
    selected = opened.choose_precision(chosen, precision)
    subset = subsets_of(opened.manifest.modalities)[-1]
    graph = opened.graph(chosen, selected, GraphKey.window(subset))
    if graph is None or not graph.file.endswith(".onnx"):
        raise UsageError(f"{path} has no window graph in ONNX for {chosen} at {selected}. Export it without --ir.")
    with activity("Profiling the layers", is_timed=True):
        layers = profile_layers(chosen, opened.path / graph.file, selected, threads=threads, num_runs=repeats)
        peaks = measure_peaks(threads, sum(layer.bytes for layer in layers))
    profile = LayerProfile(
        name=opened.manifest.name,
        target=opened.manifest.target,
        backend=chosen,
        precision=selected,
        device="CPU",
        subset=subset.value,
        layers=tuple(layers),
        peaks=peaks,
        machine={**describe_machine(), "threads": str(threads)},
    )
    if output_path is not None:
        write_text(output_path, json.dumps(profile.to_json(), indent=1) + "\n")
    return profile


def _choose_backend(bundle: Bundle, name: str) -> str:
    if name not in ("auto", *PROFILED_BACKENDS):
        raise UsageError(f"backend must be auto, {' or '.join(PROFILED_BACKENDS)}, got {name!r}. Choose one of them.")
    candidates = [item for item in bundle.manifest.backends if item in PROFILED_BACKENDS and name in ("auto", item)]
    reasons = [(item, unavailable_reason(item)) for item in candidates]
    chosen = next((item for item, reason in reasons if reason is None), None)
    if chosen is None:
        why = (
            "; ".join(f"{item}: {reason}" for item, reason in reasons)
            or f"it has {', '.join(bundle.manifest.backends)}"
        )
        raise BackendUnavailableError(f"No backend of the bundle can be profiled here ({why}). Install one of them.")
    return chosen
