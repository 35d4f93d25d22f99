"""Texts and text inputs for tests of text models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edge_msa.config.students import TextRecipe, TextStage
from edge_msa.data.dataset import Split
from edge_msa.data.tokenization import TextTokenizer, train_wordpiece_tokenizer
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TransformerTextEncoder
from edge_msa.training.text.text_input import TextInput

GOOD, BAD = ("good film", "really good", "good it was"), ("bad film", "really bad", "bad it was")
TEXTS = GOOD + BAD
LABELS = np.array([2.0] * 3 + [-2.0] * 3, np.float32)
STAGE = TextStage(epochs=40, learning_rate=1e-2)
QUICK = TextRecipe(dim=8, width=8, hidden=8, tokens=2, dropout=0.0, batch_size=3, transfer=STAGE, final=STAGE)


def make_table_input(dim: int = 8) -> TextInput:
    tokenizer = TextTokenizer(train_wordpiece_tokenizer(TEXTS * 5), 16, special=False)
    torch.manual_seed(0)
    return TextInput(tokenizer, EmbeddingTableEncoder(tokenizer.size, dim))


def make_encoder_input(folder: Path, layers: int | None = None) -> TextInput:
    loaded = load_encoder(str(folder), layers=layers)
    return TextInput(TextTokenizer(loaded.tokenizer, 16, special=True), TransformerTextEncoder(loaded.model))


def split_of(texts: tuple[str, ...], labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    return Split(ids, ids, labels, {}, texts)
