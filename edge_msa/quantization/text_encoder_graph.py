"""Run a text encoder's graph, in any precision, on the texts of a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Frames, Split
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.training.text.encode_dataset import encoder_inputs, replace_language
from edge_msa_export.graphs.files import Graph
from edge_msa_export.graphs.text_encoder import export_text_encoders
from edge_msa_export.text import TextGraph
from edge_msa_runtime.backends import Backend


@dataclass(frozen=True)
class TextEncoderGraph:
    """The FP32 graph of a text encoder for texts of one length, and its tokenizer."""

    graph: Graph
    tokenizer: TextTokenizer
    length: int
    """Tokens of the longest text. Longer texts are cut."""
    dim: int
    """Features per token."""

    @classmethod
    def export(cls, text: TextGraph, length: int) -> TextEncoderGraph:
        """Export the text encoder for texts of at most `length` tokens."""
        (graph,) = export_text_encoders(text, [length]).values()
        tokenizer = TextTokenizer(text.tokenizer, text.max_tokens, special=True, context=text.context)
        return cls(graph, tokenizer, length, text.dim)

    @property
    def weights(self) -> frozenset[str]:
        """Names of the weights."""
        return frozenset(tensor.name for tensor in self.graph.graph.initializer)

    def encode_split(self, graph: Graph, split: Split, backend: Backend, scratch: Path) -> Split:
        """Return the split with the language frames that `graph`, a quantized copy of this graph, computes."""
        path = scratch / "text_encoder.onnx"
        path.write_bytes(graph.SerializeToString())
        program = backend.load(path)
        texts: list[NDArray[np.float32] | Sequence[NDArray[np.float32]]] = []
        counts = [min(len(ids), self.length) for ids in self.tokenizer.ids(split.texts)]
        for text, earlier, count in zip(split.texts, split.earlier or [()] * len(split), counts, strict=True):
            inputs = next(encoder_inputs(self.tokenizer, [text], [earlier], self.length), None)
            texts.append([] if inputs is None else program(inputs)["frames"][0, :count])
        program.close()
        values = np.zeros((len(texts), self.length, self.dim), np.float32)
        valid = np.zeros((len(texts), self.length), np.bool_)
        for row, frames in enumerate(texts):
            values[row, : len(frames)], valid[row, : len(frames)] = frames, True
        return replace_language(split, Frames(valid, values=values))
