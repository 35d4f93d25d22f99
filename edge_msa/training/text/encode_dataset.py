"""Datasets whose language frames are computed from text."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.runs import Run
from edge_msa.console import print_note
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import DataError
from edge_msa.models.text_encoders import EmbeddingTableEncoder
from edge_msa.training.text.frame_encoder import TextFrameEncoder, TextToFrames, text_frames
from edge_msa.training.text.load import load_text_input, require_text_input
from edge_msa.training.text.text_input import TextInput
from edge_msa_runtime.features import UNKNOWN, FeatureSource

_ENCODERS: weakref.WeakValueDictionary[str, TextFrameEncoder] = weakref.WeakValueDictionary()
"""The encoders of runs that a dataset uses, by the digest of the text encoder."""


def encode_texts(dataset: Dataset, text_input: TextInput, source: FeatureSource) -> Dataset:
    """Return the dataset with the language frames that a tokenizer and text encoder compute from its texts.

    Args:
        dataset: Dataset with texts.
        text_input: Tokenizer and text encoder.
        source: Their name and version.

    Raises:
        DataError: A split has no texts.
    """
    return _replace_all(dataset, text_frames(text_input), text_input.tokenizer, source)


def encode_texts_with_run(run: Run, dataset: Dataset) -> Dataset:
    """Return the dataset with the language frames of a run's text encoder; errors are those of `encode_texts`.

    All datasets that are encoded with the same text encoder share the frames that it has computed.
    """
    digest, source = require_text_input(run).digest, run.spec.features.get("language", UNKNOWN)
    encoder = _ENCODERS.get(digest)
    if encoder is not None:
        return _replace_all(dataset, encoder.frames, encoder.tokenizer, source)
    loaded = load_text_input(run)
    if isinstance(loaded.text_encoder, EmbeddingTableEncoder):
        return _replace_all(dataset, text_frames(loaded), loaded.tokenizer, source)
    encoder = _ENCODERS[digest] = TextFrameEncoder(loaded)
    return _replace_all(dataset, encoder.frames, loaded.tokenizer, source)


def mark_texts(dataset: Dataset, dim: int) -> Dataset:
    """Return the dataset with placeholder language frames: zeros, valid for samples with a word.

    Evaluations of bundles use it, because bundles encode the texts themselves.

    Args:
        dataset: Dataset with texts.
        dim: Number of features per placeholder frame.

    Raises:
        DataError: A split has no texts.
    """
    splits = {}
    for name, split in dataset.splits.items():
        _require_texts(split, name, dataset)
        has_text = np.array([[bool(text.strip())] for text in split.texts])
        frames = Frames(has_text, values=np.zeros((len(split), 1, dim), np.float32))
        splits[name] = replace_language(split, frames)
    features = {name: source for name, source in dataset.features.items() if name != "language"}
    return dataclasses.replace(dataset, splits=splits, features=features)


def replace_language(split: Split, frames: Frames) -> Split:
    """Return the split with other language frames. Language becomes the first modality."""
    others = {name: item for name, item in split.modalities.items() if name != "language"}
    return dataclasses.replace(split, modalities={"language": frames, **others})


def encoder_inputs(
    tokenizer: TextTokenizer, texts: Sequence[str], earlier: Sequence[Sequence[str]], length: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the inputs of a text encoder graph, `ids` and `valid` (1, length), for each text that has a word.

    `earlier` are the texts before each text, as in `Split.earlier`.
    """
    for ids in tokenizer.append_earlier(tokenizer.ids(texts), earlier):
        truncated = ids[:length]
        if len(truncated):
            valid = (np.arange(length) < len(truncated)).astype(np.float32)
            yield {"ids": np.pad(truncated, (0, length - len(truncated)))[None], "valid": valid[None]}


def print_truncation_notes(tokenizer: TextTokenizer, dataset: Dataset) -> None:
    """Print a note for each split with texts of more tokens than the model takes."""
    for name, split in dataset.splits.items():
        if note := tokenizer.truncation_note(f"the {name} split of {dataset.name}", split.texts):
            print_note(note)


def _replace_all(
    dataset: Dataset,
    frames: TextToFrames,
    tokenizer: TextTokenizer,
    source: FeatureSource,
) -> Dataset:
    print_truncation_notes(tokenizer, dataset)
    splits = {}
    for name, split in dataset.splits.items():
        _require_texts(split, name, dataset)
        splits[name] = replace_language(split, frames(split.texts, split.earlier))
    return dataclasses.replace(dataset, splits=splits, features={**dataset.features, "language": source})


def _require_texts(split: Split, name: str, dataset: Dataset) -> None:
    if len(split) and not split.texts:
        raise DataError(
            f"The {name} split of {dataset.name} has no texts, but the model needs texts. Pass data with raw text."
        )
