"""What a scorer of plans asks of an encoder of words: the language stream that its graph makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.training.text.apply import text_ids, with_language
from edge_msa_export.graphs.files import Graph
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.text import Text, TextGraph
from edge_msa_runtime.backends import Backend


@dataclass(frozen=True)
class Encoder:
    """The encoder's fp32 graph of one length, and its tokenizer."""

    graph: Graph
    words: TextTokenizer
    length: int
    dim: int

    @classmethod
    def of(cls, text: Text | None, length: int) -> Encoder | None:
        """The encoder of texts of at most `length` tokens; None where no encoder reads them."""
        if not isinstance(text, TextGraph):
            return None
        (graph,) = export_text_encoders(text, [length]).values()
        return cls(graph, TextTokenizer(text.tokenizer, text.max_tokens, special=True), length, text.dim)

    @property
    def weights(self) -> frozenset[str]:
        """Names of its weights."""
        return frozenset(tensor.name for tensor in self.graph.graph.initializer)

    def read(self, graph: Graph, split: Split, backend: Backend, scratch: Path) -> Split:
        """The split with the language stream that `graph`, this one at some precision, makes of what was said."""
        path = scratch / "text_encoder.onnx"
        path.write_bytes(graph.SerializeToString())
        program = backend.load(path)
        made = [self._frames(program, text) for text in split.texts]
        program.close()
        values = np.zeros((len(made), self.length, self.dim), np.float32)
        valid = np.zeros((len(made), self.length), np.bool_)
        for row, frames in enumerate(made):
            values[row, : len(frames)], valid[row, : len(frames)] = frames, True
        return with_language(split, Frames(valid, values=values))

    def _frames(self, program: Any, text: str) -> NDArray[np.float32] | Sequence[NDArray[np.float32]]:
        fed: Mapping[str, NDArray[Any]] | None = next(text_ids(self.words, [text], self.length), None)
        return [] if fed is None else program(fed)["frames"][0, : int(fed["valid"].sum())]
