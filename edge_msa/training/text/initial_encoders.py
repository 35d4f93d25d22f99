"""Initial text encoders: pre-trained ones, layers of them, tables of word vectors, and new tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edge_msa.artifacts.runs import INFO_NAME, load_run
from edge_msa.config.students import TextRecipe
from edge_msa.console import print_note
from edge_msa.data.dataset import FloatArray
from edge_msa.data.tokenization import (
    TextTokenizer,
    build_word_tokenizer,
    ignores_case,
    is_english,
    normalize_for_encoder,
    train_wordpiece_tokenizer,
)
from edge_msa.data.vocabulary import restrict_vocabulary
from edge_msa.errors import DataError, UsageError
from edge_msa.models.encoder_layers import Layers
from edge_msa.models.pretrained import load_encoder
from edge_msa.models.text_encoders import EmbeddingTableEncoder, TransformerTextEncoder
from edge_msa.training.randomness import generator_of, seed_of
from edge_msa.training.text.load import load_text_input
from edge_msa.training.text.teacher_outputs import TokenRows, compute_table
from edge_msa.training.text.text_input import TextInput
from edge_msa_runtime.inputs.npz_files import load_arrays
from edge_msa_runtime.wording import format_part

WORDPIECES = "wordpieces"
_RESET_LAYERS = 12
_UPPER_CASE = 0.05
"""Share of texts in upper case from which a note is printed."""
_UNKNOWN_WORDS = 0.2
"""Share of words without a vector from which a note is printed."""
_VECTORS = ("glove", "vectors", "table")


def is_table(source: str) -> bool:
    """Return whether `text_encoder_from_source` creates a table from this source instead of a Transformer encoder."""
    return source == WORDPIECES or source.endswith(".npz")


def is_run(source: str) -> bool:
    """Return whether a source is the folder of a run."""
    return (Path(source) / INFO_NAME).is_file()


def text_encoder_from_source(
    source: str, texts: Sequence[str], recipe: TextRecipe, layers: Layers | None, seed: int
) -> TextInput:
    """Create a text encoder, pre-trained or not, and its tokenizer.

    Args:
        source: `wordpieces` for a random table of wordpieces that are learned from the texts; an .npz file with `vocab`
            and word vectors; or a source of `load_base`.
        texts: Training texts.
        recipe: Recipe of the text model.
        layers: Layers to keep: the first N, or those with these indices (default: all).
        seed: Seed of random weights.

    Raises:
        UsageError: The source is unknown, or `layers` or the number of reset layers does not fit it.
        DataError: The file of word vectors is unusable.
    """
    if not is_table(source):
        text_input = select_layers(load_base(source, texts, recipe), source, recipe, layers)
        if isinstance(text_input.text_encoder, TransformerTextEncoder):
            text_input.text_encoder.reset_layers(recipe.reset_layers, seed_of(seed, _RESET_LAYERS))
        return text_input
    if layers is not None:
        raise UsageError("--layers cannot be used with an embedding table. Omit it.")
    if source == WORDPIECES:
        tokenizer = TextTokenizer(
            train_wordpiece_tokenizer(texts, normalization=recipe.normalization), recipe.max_tokens, special=False
        )
        rows = torch.randn(tokenizer.size, recipe.dim, generator=generator_of(seed)).numpy()
        return TextInput(tokenizer, _table(rows))
    vocabulary, vectors = _word_vectors(Path(source))
    tokenizer = TextTokenizer(
        build_word_tokenizer(vocabulary, texts, recipe.normalization), recipe.max_tokens, special=False
    )
    _note_unknown_words(tokenizer, texts, source)
    return TextInput(tokenizer, _table(vectors))


def load_base(source: str, texts: Sequence[str], recipe: TextRecipe) -> TextInput:
    """Return the tokenizer and encoder that a text encoder starts from, with the encoder's own token limit.

    Args:
        source: A BERT-like model as a folder or a name on the Hugging Face hub, or a run of `edge-msa text`, which
            keeps its tokenizer.
        texts: Training texts.
        recipe: Recipe of the text model.

    Raises:
        UsageError: The source is something else, or a run with an embedding table.
    """
    if not is_run(source):
        loaded = load_encoder(source)
        tokenizer = normalize_for_encoder(loaded.tokenizer, texts, recipe.normalization)
        _note_upper_case(tokenizer, texts, source)
        encoder = TransformerTextEncoder(loaded.model)
        return TextInput(TextTokenizer(tokenizer, encoder.max_tokens, special=True), encoder)
    return load_text_input(load_run(source))


def select_layers(base: TextInput, name: str, recipe: TextRecipe, layers: Layers | None) -> TextInput:
    """Return a base with fewer layers, changed in place, and the token limit and the context of the recipe.

    Args:
        base: Tokenizer and encoder.
        name: Name of the base in error messages.
        recipe: Recipe of the text model.
        layers: Layers to keep: the first N, or those with these indices (default: all).

    Raises:
        UsageError: The base does not have these layers, it has a table, or its tokenizer cannot separate utterances.
    """
    encoder = base.text_encoder
    if not isinstance(encoder, TransformerTextEncoder):
        raise UsageError(f"{name} has an embedding table and no encoder. Pass --text-encoder table.")
    if layers is not None:
        encoder.keep_layers(layers, name)
    max_tokens = min(recipe.max_tokens, encoder.max_tokens)
    tokenizer = dataclasses.replace(base.tokenizer, max_tokens=max_tokens, context=recipe.context)
    if recipe.context and not tokenizer.ending:
        raise UsageError(
            f"text.context needs an encoder whose tokenizer ends each text with a special token, but that of {name} "
            "does not. Pass another encoder, or omit --context."
        )
    return TextInput(tokenizer, encoder)


def table_from_rows(rows: TokenRows, base: TextTokenizer, texts: Sequence[str], recipe: TextRecipe) -> TextInput:
    """Create an embedding table whose vocabulary are the tokens of the training texts.

    Args:
        rows: Vectors of tokens, from which the initial rows are reduced.
        base: Tokenizer of these tokens.
        texts: Training texts.
        recipe: Recipe of the text model.

    Raises:
        DataError: The tokenizer has no pieces of words.
    """
    restricted = restrict_vocabulary(base.tokenizer, texts).tokenizer
    tokenizer = TextTokenizer(restricted, recipe.max_tokens, special=False)
    return TextInput(tokenizer, _table(compute_table(rows, tokenizer, recipe.dim)))


def _note_upper_case(tokenizer: str, texts: Sequence[str], source: str) -> None:
    """Print a note if a tokenizer distinguishes case, and texts have no lower case as in CMU-MOSI."""
    if ignores_case(tokenizer):
        return
    upper = sum(text.isupper() and is_english([text]) for text in texts)
    if upper > _UPPER_CASE * len(texts):
        print_note(
            f"{format_part(upper, len(texts), 'text', 'is', 'are')} in upper case, which {source} splits into other "
            "tokens than lower case. To ignore case, set text.normalization to words"
        )


def _note_unknown_words(tokenizer: TextTokenizer, texts: Sequence[str], source: str) -> None:
    """Print a note if many words of the training texts have no vector."""
    ids = np.concatenate([np.zeros(0, np.int64), *tokenizer.ids(texts)])
    unknown = int((ids == tokenizer.unknown).sum())
    if unknown > _UNKNOWN_WORDS * len(ids):
        print_note(f"{format_part(unknown, len(ids), 'word', 'is', 'are')} of the training texts not in {source}")


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
