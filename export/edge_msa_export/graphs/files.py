"""Stores exported graphs in a run folder, because exporting takes about a second per graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_msa_export.errors import ExportError
from edge_msa_runtime.bundle.manifest import GraphKey

Graph = onnx.ModelProto
GraphsByKey = dict[GraphKey, Graph]

_INDEX_NAME = "graphs.json"


def write_graphs(folder: Path, graphs: Mapping[GraphKey, onnx.ModelProto]) -> None:
    """Write one file per graph and an index of the files. The same graphs give the same bytes."""
    index = []
    for key, graph in graphs.items():
        file = f"graph-{key.file_stem}.onnx"
        (folder / file).write_bytes(graph.SerializeToString(deterministic=True))
        index.append({"file": file, **key._asdict()})
    (folder / _INDEX_NAME).write_text(json.dumps(index, indent=1), encoding="utf-8")


def load_graphs(folder: Path) -> GraphsByKey:
    """Load the graphs that `write_graphs` wrote to a folder; empty if it wrote none.

    Raises:
        ExportError: a file is damaged.
    """
    path = folder / _INDEX_NAME
    if not path.is_file():
        return {}
    graphs: GraphsByKey = {}
    try:
        for item in json.loads(path.read_text(encoding="utf-8")):
            path = folder / item["file"]
            key = GraphKey(item["role"], tuple(item["modalities"]), item["length"], item["batch"])
            graphs[key] = onnx.load(path)
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        raise ExportError(f"Cannot load {path} ({error}). Create the run again.") from None
    return graphs
