"""What a judge of placements asks of an encoder of words: the language stream that its graph makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.words import Words
from edge_msa.flow.spoken import spoken_ids, with_language
from edge_msa_export.graph_files import Graph
from edge_msa_export.graph_front import export_fronts
from edge_msa_export.text import Text, TextGraph
from edge_msa_runtime.engines import Engine


@dataclass(frozen=True)
class Encoder:
    """The encoder's fp32 graph of one length, and its tokenizer."""

    graph: Graph
    words: Words
    length: int
    dim: int

    @classmethod
    def of(cls, text: Text | None, length: int) -> Encoder | None:
        """The encoder of texts of at most `length` tokens; None where no encoder reads them."""
        if not isinstance(text, TextGraph):
            return None
        (graph,) = export_fronts(text, [length]).values()
        return cls(graph, Words(text.tokenizer, text.max_tokens, special=True), length, text.dim)

    @property
    def weights(self) -> frozenset[str]:
        """Names of its weights."""
        return frozenset(tensor.name for tensor in self.graph.graph.initializer)

    def read(self, graph: Graph, split: Split, engine: Engine, scratch: Path) -> Split:
        """The split with the language stream that `graph`, this one at some precision, makes of what was said."""
        path = scratch / "front.onnx"
        path.write_bytes(graph.SerializeToString())
        program = engine.load(path)
        made = [self._frames(program, text) for text in split.texts]
        program.close()
        values = np.zeros((len(made), self.length, self.dim), np.float32)
        valid = np.zeros((len(made), self.length), np.bool_)
        for row, frames in enumerate(made):
            values[row, : len(frames)], valid[row, : len(frames)] = frames, True
        return with_language(split, Frames(valid, values=values))

    def _frames(self, program: Any, text: str) -> NDArray[np.float32] | Sequence[NDArray[np.float32]]:
        fed: Mapping[str, NDArray[Any]] | None = next(spoken_ids(self.words, [text], self.length), None)
        return [] if fed is None else program(fed)["frames"][0, : int(fed["valid"].sum())]
