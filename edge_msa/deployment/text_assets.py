"""What a bundle needs to read words as a run does."""

from __future__ import annotations

import numpy as np

from edge_msa.artifacts.runs import Run
from edge_msa.models.text_encoders import EmbeddingTableEncoder
from edge_msa.training.text.load import text_input_of
from edge_msa_export.text import Text, TextGraph, TextTable


def text_of(run: Run) -> Text | None:
    """The run's tokenizer and text encoder for an export; None for a run that reads features."""
    if run.spec.text_input is None:
        return None
    text_input = text_input_of(run)
    words, text_encoder = text_input.words, text_input.text_encoder
    if isinstance(text_encoder, EmbeddingTableEncoder):
        rows = np.asarray(text_encoder.table.weight.detach().numpy(), np.float32)
        return TextTable(words.tokenizer, rows, words.max_tokens)
    return TextGraph(words.tokenizer, text_encoder.exportable(), text_encoder.dim, words.max_tokens)
