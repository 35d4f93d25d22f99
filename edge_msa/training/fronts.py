"""Where a reader's front comes from: a folder or the hub, a file of word vectors, transcripts alone, or a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge_msa.data.dataset import FloatArray
from edge_msa.data.files import load_arrays
from edge_msa.data.words import Words, learned, narrowed, of_words, spoken
from edge_msa.errors import DataError, UsageError
from edge_msa.models.fronts import EncoderFront, TableFront
from edge_msa.models.language import load_encoder
from edge_msa.runs import Run
from edge_msa.training.language import LanguageRecipe
from edge_msa.training.language_teachers import Taught, table_of
from edge_msa.training.randomness import generator_of
from edge_msa.training.readers import spoken_of
from edge_msa.training.spoken import Spoken

WORDPIECES = "wordpieces"
_VECTORS = ("glove", "vectors", "table")


def is_table(source: str) -> bool:
    """Whether `front_of_source` makes a table of it rather than an encoder."""
    return source == WORDPIECES or source.endswith(".npz")


def front_of_source(source: str, texts: Sequence[str], recipe: LanguageRecipe, layers: int | None, seed: int) -> Spoken:
    """An untrained or pre-trained front.

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
        text = spoken(loaded.tokenizer)
        most = min(recipe.max_tokens, loaded.longest)
        return Spoken(Words(text, most, special=True), EncoderFront(loaded.model))
    if layers is not None:
        raise UsageError(f"--layers is {layers}; a table has none: leave it out")
    if source == WORDPIECES:
        words = Words(learned(texts), recipe.max_tokens, special=False)
        rows = torch.randn(words.size, recipe.dim, generator=generator_of(seed)).numpy()
        return Spoken(words, _table(rows))
    vocabulary, vectors = _word_vectors(Path(source))
    words = Words(of_words(vocabulary), recipe.max_tokens, special=False)
    return Spoken(words, _table(vectors))


def front_of_teacher(
    front: str, teacher: Run, taught: Taught, texts: Sequence[str], recipe: LanguageRecipe, layers: int | None
) -> Spoken:
    """A front that starts from a teacher: its first layers, or a table of what its tokens mean.

    Raises:
        UsageError: more layers than it has, or a front that a teacher of its kind cannot give.
    """
    source = spoken_of(teacher)
    if front == "table":
        if layers is not None:
            raise UsageError(f"--layers is {layers}; a table has none: leave it out")
        words = Words(narrowed(source.words.tokenizer, texts), recipe.max_tokens, special=False)
        return Spoken(words, _table(table_of(taught, words, recipe.dim)))
    if not isinstance(source.front, EncoderFront):
        raise UsageError(f"{teacher.path} reads words by a table: only --front table can be distilled from it")
    wanted = source.front.layers if layers is None else layers
    if not 1 <= wanted <= source.front.layers:
        raise UsageError(f"--layers is {wanted}; {teacher.path} has 1 to {source.front.layers}")
    source.front.keep_layers(wanted)
    return source


def _table(rows: FloatArray) -> TableFront:
    front = TableFront(*rows.shape)
    with torch.no_grad():
        front.table.weight.copy_(torch.from_numpy(rows))
    return front


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
