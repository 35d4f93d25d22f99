"""The FP32 graphs of a student: exported once by `edge-msa calibrate`, then loaded from the run.

Text encoder graphs are too large to store, so they are exported each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edge_msa.artifacts.model_spec import ModelSpec
from edge_msa.console import activity
from edge_msa.deployment.student import DeployableStudent
from edge_msa_export.graphs.files import GraphsByKey, load_graphs
from edge_msa_export.graphs.student import export_student
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.normalization import Normalization
from edge_msa_export.text import TextGraph
from edge_msa_runtime.features import FeatureSource

CHUNK_LENGTHS = {"language": 4, "audio": 10, "vision": 10}
"""Least frames per call of a step graph: a few words, or a third of a second of video at 30 Hz."""
_CHUNK_SECONDS = 0.5
"""Duration of the frames per call where the frame rate is known: between two predictions, programs often wait as long,
and after a pause every call costs more than its arithmetic."""


def chunk_lengths(
    windows: Mapping[str, int], features: Mapping[str, FeatureSource] = MappingProxyType({})
) -> dict[str, int]:
    """Return the frames per call of each modality's step graph, at most the frames of its window.

    Args:
        windows: Frames of the window of each modality.
        features: What computed the frames, by modality, with their rate if it is known.
    """
    lengths = {}
    for name, window in windows.items():
        rate = features[name].rate_hz if name in features else None
        lengths[name] = min(window, max(CHUNK_LENGTHS[name], round(_CHUNK_SECONDS * (rate or 0))))
    return lengths


def make_normalization(spec: ModelSpec) -> dict[str, Normalization]:
    """Return the normalization of each modality of a model as its graphs apply it."""
    fitted = spec.normalization
    return {
        name: Normalization(
            mean=tuple(fitted.mean[name].tolist()),
            std=tuple(fitted.std[name].tolist()),
            limit=fitted.limit[name],
            norm=fitted.norm[name],
        )
        for name in spec.dims
    }


def load_student_graphs(student: DeployableStudent) -> GraphsByKey:
    """Return the FP32 graphs of a student without its text encoder. They are exported if the run does not have them.

    Raises:
        ExportError: A graph file is damaged, or torch cannot export the student.
    """
    spec = student.spec
    with activity("Exporting the student's graphs"):
        return load_graphs(student.run.path) or export_student(
            student.network, make_normalization(spec), chunk_lengths(spec.windows, spec.features), spec.windows
        )


def load_all_graphs(student: DeployableStudent) -> GraphsByKey:
    """Return the FP32 graphs of a student, including those of its text encoder for every length.

    Raises:
        ExportError: A graph file is damaged, or torch cannot export the student or its text encoder.
    """
    graphs = load_student_graphs(student)
    if not isinstance(student.text, TextGraph):
        return graphs
    with activity("Exporting the text encoder's graphs"):
        return {**graphs, **export_text_encoders(student.text)}
