"""A student's fp32 graphs: exported once, when it is calibrated, and read again by every export."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from edge_msa.contract import Contract
from edge_msa.runs import Run
from edge_msa.training.load import student_of
from edge_msa_export.graph import GraphKey, export_all

CHUNKS = {"language": 4, "audio": 10, "vision": 10}
"""Frames a call of a step graph: a few words at a time, and a third of a second of video at 30 Hz."""

_PREFIX = "graph-"


def chunks_of(windows: Mapping[str, int]) -> dict[str, int]:
    """Frames a call of each modality's step graph; no more than a window has."""
    return {name: min(CHUNKS[name], window) for name, window in windows.items()}


def graphs_of(run: Run) -> dict[GraphKey, onnx.ModelProto]:
    """The graphs that lie in the run, or, of a run that has none, exported now."""
    found = {
        GraphKey(*path.stem.removeprefix(_PREFIX).split("-")): onnx.load(path)
        for path in sorted(run.path.glob(f"{_PREFIX}*.onnx"))
    }
    if found:
        return found
    windows = Contract.from_json(run.info.contract).windows
    return export_all(student_of(run), chunks_of(windows), windows)


def write_graphs(folder: Path, graphs: Mapping[GraphKey, onnx.ModelProto]) -> None:
    """Keep graphs in a run that is being made."""
    for key, graph in graphs.items():
        (folder / f"{_PREFIX}{key.role}-{key.scope}.onnx").write_bytes(graph.SerializeToString(deterministic=True))
