"""`edge-msa-run build`: build the TensorRT plans of a bundle ahead of time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edge_msa_runtime.cli.common import (
    MEGABYTE,
    add_bundle_argument,
    add_command,
    add_general_options,
    add_signature_options,
    print_notes,
    print_result,
)
from edge_msa_runtime.cli.parser import OPTIONS

if TYPE_CHECKING:
    from edge_msa_runtime.backends.tensorrt.prebuild import GraphBuild


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "build",
        "Build the TensorRT plans of a bundle on this device, so that the first prediction does not wait for them.",
        "build bundle-jetson",
    )
    add_bundle_argument(parser)
    parser.add(
        OPTIONS,
        "--precision",
        metavar="NAME",
        help="Precision of the bundle: fp32, fp16, int8 or all. Default: the one that export chose.",
    )
    parser.add(
        OPTIONS, "--subset", metavar="NAME", help="Build only the graphs of one subset, for example la. Default: all."
    )
    parser.add(
        OPTIONS,
        "--workspace",
        type=int,
        metavar="MIB",
        help="Memory that a layer may use, in MiB. Default: half of the free memory, at most 1024.",
    )
    parser.add(
        OPTIONS,
        "--best-of",
        type=int,
        default=1,
        metavar="N",
        help="Number of plans to build per graph; the fastest one is cached. Default: 1.",
    )
    parser.add(OPTIONS, "--device", default="", metavar="GPU:N", help="GPU to build for. Default: the first GPU.")
    add_signature_options(parser)
    add_general_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from edge_msa_runtime.backends.tensorrt.prebuild import BuildOptions, build_bundle, has_tensorrt_graphs
    from edge_msa_runtime.bundle.loader import open_bundle

    build_options = BuildOptions(
        precision=options.precision,
        subset=options.subset,
        workspace_mib=options.workspace,
        best_of=options.best_of,
        device=options.device,
    )
    bundle = open_bundle(options.bundle)
    print_notes(bundle.notes)
    graphs = []
    if not has_tensorrt_graphs(bundle):
        names = ", ".join(bundle.manifest.backends)
        print(f"{bundle.manifest.name} has no TensorRT graphs; nothing to build. Its backends need no build: {names}.")
    else:
        for graph in build_bundle(bundle, build_options):
            print(format_build(graph), flush=True)
            graphs.append(graph.to_json())
    print_result([], {"bundle": bundle.manifest.name, "graphs": graphs}, options)


def format_build(graph: GraphBuild) -> str:
    """Format the build of one graph as one line, followed by the remark, if any, on a second line."""
    position = f"{graph.number}/{graph.total}"
    name = str(graph.key)
    state = "cached, " if graph.cached else ""
    size = f"{graph.bytes / MEGABYTE:.2f} MB"
    layers = ", ".join(f"{count} {precision}" for precision, count in graph.layers.items() if count)
    candidates = ""
    if graph.p50_ms:
        times = ", ".join(f"{value:.3f}" for value in graph.p50_ms)
        candidates = f"; fastest of {len(graph.p50_ms)} (p50 {times} ms)"
    remark = f"\n  {graph.remark}" if graph.remark else ""
    return (
        f"{position:6}{name:15}{graph.precision:5} {state}built in {graph.seconds:.1f} s, {size}, "
        f"layers: {layers or 'unknown'}{candidates}{remark}"
    )
