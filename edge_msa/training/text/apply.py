"""Data as a run that reads words sees it: its language stream is what the run's own text encoder makes of what was said."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.artifacts.runs import Run
from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.tokenization import TextTokenizer
from edge_msa.errors import DataError, RunError
from edge_msa.training.text.load import text_input_of
from edge_msa.training.text.text_input import FILES, TextInput


def with_text_input(run: Run, dataset: Dataset) -> Dataset:
    """The dataset with that language stream.

    Raises:
        DataError: a split does not say what was said.
    """
    return with_text_frames(dataset, text_input_of(run))


def with_text_frames(dataset: Dataset, text_input: TextInput) -> Dataset:
    """The dataset with the language stream that this tokenizer and text encoder make; errors are those of `with_text_input`."""
    return dataclasses.replace(
        dataset, splits={name: _text_input(text_input, split, name, dataset) for name, split in dataset.splits.items()}
    )


def without_text(dataset: Dataset, dim: int) -> Dataset:
    """The dataset with a language stream of that width that only tells who said a word: a bundle reads the texts."""
    splits = {}
    for name, split in dataset.splits.items():
        _require_texts(split, name, dataset)
        said = np.array([[bool(text.strip())] for text in split.texts])
        frames = Frames(said, values=np.zeros((len(split), 1, dim), np.float32))
        splits[name] = with_language(split, frames)
    return dataclasses.replace(dataset, splits=splits)


def with_language(split: Split, frames: Frames) -> Split:
    """The split with another language stream, which comes first."""
    others = {name: stream for name, stream in split.modalities.items() if name != "language"}
    return dataclasses.replace(split, modalities={"language": frames, **others})


def text_ids(words: TextTokenizer, texts: Sequence[str], length: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The texts that have a word, as an encoder's graph of that length takes them: `ids` and `valid` (1, length)."""
    for ids in words.ids(texts):
        kept = ids[:length]
        if len(kept):
            valid = (np.arange(length) < len(kept)).astype(np.float32)
            yield {"ids": np.pad(kept, (0, length - len(kept)))[None], "valid": valid[None]}


def copy_text_input(source: Path, work: Path) -> None:
    """Copy tokenizer and text encoder of a run into the folder of one that reads words by them."""
    for name in FILES:
        try:
            shutil.copyfile(source / name, work / name)
        except OSError as error:
            raise RunError(
                f"{source / name} cannot be copied ({error.strerror or error}): free space, run it again"
            ) from None


def _text_input(text_input: TextInput, split: Split, name: str, dataset: Dataset) -> Split:
    _require_texts(split, name, dataset)
    return with_language(split, text_input.frames(split.texts))


def _require_texts(split: Split, name: str, dataset: Dataset) -> None:
    if len(split) and not split.texts:
        raise DataError(
            f"the {name} split of {dataset.name} does not say what was said, and the model reads words: "
            "give data with raw text"
        )
