"""A student's exported graphs kept in a folder: exporting takes about a second a graph, prediction nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edge_msa_export.errors import ExportError
from edge_msa_export.graphs.export import GraphKey

Graph = onnx.ModelProto
GraphsByKey = dict[GraphKey, Graph]

_PREFIX = "graph-"


def write_graphs(folder: Path, graphs: Mapping[GraphKey, onnx.ModelProto]) -> None:
    """Write each graph as a file of its own; the same graphs give the same bytes."""
    for key, graph in graphs.items():
        (folder / f"{_PREFIX}{key.role}-{key.scope}.onnx").write_bytes(graph.SerializeToString(deterministic=True))


def read_graphs(folder: Path) -> GraphsByKey:
    """The graphs that `write_graphs` wrote there; none if there are none.

    Raises:
        ExportError: a file is damaged.
    """
    found: GraphsByKey = {}
    for path in sorted(folder.glob(f"{_PREFIX}*.onnx")):
        try:
            found[GraphKey(*path.stem.removeprefix(_PREFIX).split("-"))] = onnx.load(path)
        except (DecodeError, TypeError) as error:
            raise ExportError(f"{path} cannot be read ({error}): make that run again") from None
    return found
