"""Where a reader's text encoder comes from: a folder or the hub, a file of word vectors, transcripts alone, or a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import FloatArray
from edge_msa.data.formats.npz import load_arrays
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
from edge_msa.training.randomness import generator_of
from edge_msa.training.text.load import text_input_of
from edge_msa.training.text.teacher_outputs import Taught, table_of
from edge_msa.training.text.text_input import TextInput
from edge_msa.training.text.train import TextRecipe

WORDPIECES = "wordpieces"
_VECTORS = ("glove", "vectors", "table")


def is_table(source: str) -> bool:
    """Whether `text_encoder_from_source` makes a table of it rather than an encoder."""
    return source == WORDPIECES or source.endswith(".npz")


def text_encoder_from_source(
    source: str, texts: Sequence[str], recipe: TextRecipe, layers: int | None, seed: int
) -> TextInput:
    """An untrained or pre-trained text encoder.

    Args:
        source: `wordpieces`, a table of pieces that are learned from the texts; an .npz with `vocab` and word vectors;
            or a BERT-like model, a folder or a name on the hub.
        texts: of training.
        recipe: of the reader.
        layers: first layers of an encoder to keep; None for all.
        seed: of a new table.

    Raises:
        UsageError: `layers` of a table, or a source that is none of these.
        DataError: a file of vectors that cannot be used.
    """
    if not is_table(source):
        loaded = load_encoder(source, layers=layers)
        text = ignore_case_and_punctuation(loaded.tokenizer)
        most = min(recipe.max_tokens, loaded.longest)
        return TextInput(TextTokenizer(text, most, special=True), TransformerTextEncoder(loaded.model))
    if layers is not None:
        raise UsageError(f"--layers is {layers}; a table has none: leave it out")
    if source == WORDPIECES:
        words = TextTokenizer(train_wordpiece_tokenizer(texts), recipe.max_tokens, special=False)
        rows = torch.randn(words.size, recipe.dim, generator=generator_of(seed)).numpy()
        return TextInput(words, _table(rows))
    vocabulary, vectors = _word_vectors(Path(source))
    words = TextTokenizer(build_word_tokenizer(vocabulary), recipe.max_tokens, special=False)
    return TextInput(words, _table(vectors))


def text_encoder_from_teacher(
    text_encoder: str, teacher: Run, taught: Taught, texts: Sequence[str], recipe: TextRecipe, layers: int | None
) -> TextInput:
    """A text encoder that starts from a teacher: its first layers, or a table of what its tokens mean.

    Raises:
        UsageError: more layers than it has, or a text encoder that a teacher of its kind cannot give.
    """
    source = text_input_of(teacher)
    if text_encoder == "table":
        if layers is not None:
            raise UsageError(f"--layers is {layers}; a table has none: leave it out")
        words = TextTokenizer(restrict_vocabulary(source.words.tokenizer, texts), recipe.max_tokens, special=False)
        return TextInput(words, _table(table_of(taught, words, recipe.dim)))
    if not isinstance(source.text_encoder, TransformerTextEncoder):
        raise UsageError(f"{teacher.path} reads words by a table: only --text-encoder table can be distilled from it")
    wanted = source.text_encoder.layers if layers is None else layers
    if not 1 <= wanted <= source.text_encoder.layers:
        raise UsageError(f"--layers is {wanted}; {teacher.path} has 1 to {source.text_encoder.layers}")
    source.text_encoder.keep_layers(wanted)
    return source


def _table(rows: FloatArray) -> EmbeddingTableEncoder:
    text_encoder = EmbeddingTableEncoder(*rows.shape)
    with torch.no_grad():
        text_encoder.table.weight.copy_(torch.from_numpy(rows))
    return text_encoder


def _word_vectors(path: Path) -> tuple[list[str], FloatArray]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist: give a file with word vectors, an encoder's folder, or {WORDPIECES}")
    arrays = load_arrays(path)
    name = next((name for name in _VECTORS if name in arrays), None)
    if name is None or "vocab" not in arrays:
        have = ", ".join(sorted(arrays)[:8]) or "nothing"
        raise DataError(f"{path} holds {have}: word vectors are 'vocab' (V,) and 'glove' or 'vectors' (V, d)")
    vocabulary = [str(word).lower() for word in arrays["vocab"]]
    vectors = arrays[name].astype(np.float32)
    if vectors.ndim != 2 or len(vectors) != len(vocabulary):
        raise DataError(f"{path} has {len(vocabulary)} words and {name} of shape {vectors.shape}: one row a word")
    if len(set(vocabulary)) < len(vocabulary):
        first = {word: row for row, word in reversed(list(enumerate(vocabulary)))}
        rows = sorted(first.values())
        vocabulary, vectors = [vocabulary[row] for row in rows], vectors[rows]
    return vocabulary, vectors
