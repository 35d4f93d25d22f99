"""Bundles of students with random weights.

Latency and size depend on the sizes of a network, not on its weights, so these bundles need no training.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edge_msa.console import print_progress
from edge_msa.data.tasks import MOSI
from edge_msa.deployment.graphs import chunk_lengths
from edge_msa.deployment.request import make_task_spec
from edge_msa.models.student import StudentConfig, untrained_student
from edge_msa_calibrate.collect import collect_statistics
from edge_msa_calibrate.ranges import compute_ranges
from edge_msa_export.build import build_graphs
from edge_msa_export.bundle.write import write_candidate
from edge_msa_export.graphs.student import export_student
from edge_msa_export.normalization import Normalization
from edge_msa_export.profiles import find_profile
from edge_msa_export.provenance import Provenance
from edge_msa_export.request import ExportRequest, GoldenSample
from edge_msa_runtime.modalities import subsets_of

FRAMES = 500
CONFIG = StudentConfig({"language": 300, "audio": 74, "vision": 35}, width=96)
TARGET = "laptop-x86"


@contextmanager
def long_window_bundle() -> Iterator[Path]:
    """Yield a temporary bundle for laptop-x86 with every precision, windows of 500 frames, and CMU-MOSEI's features."""
    print_progress(f"A student with random weights on windows of {FRAMES} frames.")
    with random_bundle("long-windows", CONFIG, dict.fromkeys(CONFIG.dims, FRAMES)) as bundle:
        yield bundle


@contextmanager
def random_bundle(
    name: str, config: StudentConfig, windows: Mapping[str, int], precisions: tuple[str, ...] | None = None
) -> Iterator[Path]:
    """Yield a temporary bundle for laptop-x86 of a student with random weights.

    Args:
        name: Name of the bundle.
        config: Sizes of the student.
        windows: Frames of each modality.
        precisions: Names of the precisions; None for all precisions of the target.
    """
    student = untrained_student(config, seed=0)
    count = sum(parameter.numel() for parameter in student.parameters())
    print_progress(f"{name}: {count:,} parameters")
    generator = np.random.default_rng(0)
    golden = [
        GoldenSample(
            subset,
            {
                name: generator.standard_normal((windows[name], config.dims[name])).astype(np.float32)
                for name in subset.modalities
            },
        )
        for subset in subsets_of(config.dims)
    ]
    # The values are arbitrary, but every node of a normalization must be in the graphs.
    normalization = {name: Normalization((0.5,) * dim, (2.0,) * dim, 4.0) for name, dim in config.dims.items()}
    exported = export_student(student, normalization, chunk_lengths(windows), windows)
    graphs = {key: graph for key, graph in exported.items() if key.role == "window" and key.length is None}
    request = ExportRequest(
        name=name,
        profile=find_profile(TARGET),
        task=make_task_spec(MOSI),
        normalization=normalization,
        chunks=chunk_lengths(windows),
        windows=windows,
        golden_samples=golden,
        provenance=Provenance(model="random weights", seed=0, parameters=count),
        license="MIT",
        ranges=compute_ranges(collect_statistics(graphs, [sample.frames for sample in golden]), "minmax"),
        precisions=precisions,
    )
    with tempfile.TemporaryDirectory(prefix="edge-msa-") as scratch:
        built = build_graphs(student, request, Path(scratch) / "graphs", exported)
        yield write_candidate(Path(scratch) / name, built, request)
