"""Texts and text inputs for tests of text models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertModel

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


def make_teacher_input(folder: Path, width: int = 24, layers: int = 3) -> TextInput:
    """Return a random encoder with the tokenizer of another one."""
    tokenizer = make_encoder_input(folder).tokenizer
    config = BertConfig(
        vocab_size=tokenizer.size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
    )
    torch.manual_seed(1)
    return TextInput(tokenizer, TransformerTextEncoder(BertModel(config)))


def encoder_of(text_input: TextInput) -> TransformerTextEncoder:
    """Return the Transformer encoder of a text input."""
    assert isinstance(text_input.text_encoder, TransformerTextEncoder)
    return text_input.text_encoder


def split_of(texts: tuple[str, ...], labels: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Split:
    ids = tuple(map(str, range(len(texts))))
    return Split(ids, ids, labels, {}, texts)
