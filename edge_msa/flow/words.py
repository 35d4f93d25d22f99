"""What a bundle needs to read words as a run does."""

from __future__ import annotations

import numpy as np

from edge_msa.contract import Contract
from edge_msa.models.fronts import TableFront
from edge_msa.runs import Run
from edge_msa.training.readers import spoken_of
from edge_msa_export.text import Text, TextGraph, TextTable


def text_of(run: Run) -> Text | None:
    """The run's tokenizer and front for an export; None for a run that reads features."""
    if Contract.from_json(run.info.contract).language is None:
        return None
    spoken = spoken_of(run)
    words, front = spoken.words, spoken.front
    if isinstance(front, TableFront):
        rows = np.asarray(front.table.weight.detach().numpy(), np.float32)
        return TextTable(words.tokenizer, rows, words.max_tokens)
    return TextGraph(words.tokenizer, front.exportable(), front.dim, words.max_tokens)
