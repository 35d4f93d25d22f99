"""A student's fp32 graphs: exported once, when it is calibrated, and read again by every export.

An encoder of words is large and is exported each time.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_msa.artifacts.runs import Run
from edge_msa.training.load import student_of
from edge_msa_export.graphs.export import export_all
from edge_msa_export.graphs.files import GraphsByKey, read_graphs
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.text import Text, TextGraph

CHUNKS = {"language": 4, "audio": 10, "vision": 10}
"""Frames a call of a step graph: a few words at a time, and a third of a second of video at 30 Hz."""


def chunks_of(windows: Mapping[str, int]) -> dict[str, int]:
    """Frames a call of each modality's step graph; no more than a window has."""
    return {name: min(CHUNKS[name], window) for name, window in windows.items()}


def graphs_of(run: Run) -> GraphsByKey:
    """The graphs that lie in the run, or, of a run that has none, exported now."""
    if found := read_graphs(run.path):
        return found
    windows = run.spec.windows
    return export_all(student_of(run), chunks_of(windows), windows)


def with_text_encoders(graphs: GraphsByKey, text: Text | None) -> GraphsByKey:
    """The graphs and, where an encoder reads words, its own."""
    return {**graphs, **export_text_encoders(text)} if isinstance(text, TextGraph) else graphs
