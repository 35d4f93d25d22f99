"""Initial text encoders: pre-trained ones, tables of word vectors, new tables, or parts of a teacher."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge_msa.artifacts.runs import Run
from edge_msa.config.students import TextRecipe
from edge_msa.data.dataset import FloatArray
from edge_msa.data.tokenization import (
    TextTokenizer,
    build_word_tokenizer,
    ignore_case_and_punctuation,
    restrict_vocabulary,
    train_wordpiece_tokenizer,
)
from edge_msa.errors import DataError, UsageError
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TransformerTextEncoder
from edge_msa.training.randomness import generator_of, seed_of
from edge_msa.training.text.load import load_text_input
from edge_msa.training.text.teacher_outputs import TeacherOutputs, compute_table
from edge_msa.training.text.text_input import TextInput
from edge_msa_runtime.inputs.npz_files import load_arrays

WORDPIECES = "wordpieces"
_RESET_LAYERS = 12
_VECTORS = ("glove", "vectors", "table")


def is_table(source: str) -> bool:
    """Return whether `text_encoder_from_source` creates a table from this source instead of a Transformer encoder."""
    return source == WORDPIECES or source.endswith(".npz")


def text_encoder_from_source(
    source: str, texts: Sequence[str], recipe: TextRecipe, layers: int | None, seed: int
) -> TextInput:
    """Create a text encoder, pre-trained or not, and its tokenizer.

    Args:
        source: `wordpieces` for a random table of wordpieces that are learned from the texts; an .npz file with `vocab`
            and word vectors; or a BERT-like model as a folder or a name on the Hugging Face hub.
        texts: Training texts.
        recipe: Recipe of the text model.
        layers: Number of first layers to keep (default: all).
        seed: Seed of random weights.

    Raises:
        UsageError: The source is unknown, or `layers` or the number of reset layers does not fit it.
        DataError: The file of word vectors is unusable.
    """
    if not is_table(source):
        loaded = load_encoder(source, layers=layers)
        text = ignore_case_and_punctuation(loaded.tokenizer)
        max_tokens = min(recipe.max_tokens, loaded.max_tokens)
        text_encoder = TransformerTextEncoder(loaded.model)
        text_encoder.reset_layers(recipe.reset_layers, seed_of(seed, _RESET_LAYERS))
        return TextInput(TextTokenizer(text, max_tokens, special=True), text_encoder)
    if layers is not None:
        raise UsageError(f"--layers cannot be used with an embedding table, got {layers}. Omit it.")
    if source == WORDPIECES:
        tokenizer = TextTokenizer(train_wordpiece_tokenizer(texts), recipe.max_tokens, special=False)
        rows = torch.randn(tokenizer.size, recipe.dim, generator=generator_of(seed)).numpy()
        return TextInput(tokenizer, _table(rows))
    vocabulary, vectors = _word_vectors(Path(source))
    tokenizer = TextTokenizer(build_word_tokenizer(vocabulary), recipe.max_tokens, special=False)
    return TextInput(tokenizer, _table(vectors))


def text_encoder_from_teacher(
    text_encoder: str,
    teacher: Run,
    outputs: TeacherOutputs,
    texts: Sequence[str],
    recipe: TextRecipe,
    layers: int | None,
) -> TextInput:
    """Create a text encoder from a teacher: its first layers, or a table of its mean frames.

    Args:
        text_encoder: `encoder` or `table`.
        teacher: Run of the teacher.
        outputs: Outputs of the teacher for the texts.
        texts: Training texts.
        recipe: Recipe of the text model.
        layers: Number of first layers to keep (default: all).

    Raises:
        UsageError: The teacher has fewer layers, or it has a table, from which no encoder can be created.
    """
    source = load_text_input(teacher)
    if text_encoder == "table":
        if layers is not None:
            raise UsageError(f"--layers cannot be used with an embedding table, got {layers}. Omit it.")
        tokenizer = TextTokenizer(
            restrict_vocabulary(source.tokenizer.tokenizer, texts), recipe.max_tokens, special=False
        )
        return TextInput(tokenizer, _table(compute_table(outputs, tokenizer, recipe.dim)))
    if not isinstance(source.text_encoder, TransformerTextEncoder):
        raise UsageError(f"{teacher.path} has an embedding table and no encoder. Pass --text-encoder table.")
    available = source.text_encoder.layers
    count = available if layers is None else layers
    if not 1 <= count <= available:
        raise UsageError(f"--layers must be from 1 to {available} for {teacher.path}, got {count}.")
    source.text_encoder.keep_layers(count)
    max_tokens = min(recipe.max_tokens, source.text_encoder.max_tokens)
    return TextInput(dataclasses.replace(source.tokenizer, max_tokens=max_tokens), source.text_encoder)


def _table(rows: FloatArray) -> EmbeddingTableEncoder:
    text_encoder = EmbeddingTableEncoder(*rows.shape)
    with torch.no_grad():
        text_encoder.table.weight.copy_(torch.from_numpy(rows))
    return text_encoder


def _word_vectors(path: Path) -> tuple[list[str], FloatArray]:
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist. Pass a file with word vectors, the folder of an encoder, or {WORDPIECES}."
        )
    arrays = load_arrays(path)
    name = next((name for name in _VECTORS if name in arrays), None)
    if name is None or "vocab" not in arrays:
        actual = ", ".join(sorted(arrays)[:8]) or "no arrays"
        raise DataError(f"{path} must contain 'vocab' (V,) and 'glove' or 'vectors' (V, d), got {actual}.")
    vocabulary = [str(word).lower() for word in arrays["vocab"]]
    vectors = arrays[name].astype(np.float32)
    if vectors.ndim != 2 or len(vectors) != len(vocabulary):
        raise DataError(f"{name} in {path} must have shape ({len(vocabulary)}, d), got {vectors.shape}.")
    if len(set(vocabulary)) < len(vocabulary):
        first = {word: row for row, word in reversed(list(enumerate(vocabulary)))}
        rows = sorted(first.values())
        vocabulary, vectors = [vocabulary[row] for row in rows], vectors[rows]
    return vocabulary, vectors
