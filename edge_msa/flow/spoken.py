"""Data as a run that reads words sees it: its language stream is what the run's own front makes of what was said."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_msa.data.dataset import Dataset, Frames, Split
from edge_msa.data.words import Words
from edge_msa.errors import DataError, RunError
from edge_msa.runs import Run
from edge_msa.training.readers import spoken_of
from edge_msa.training.spoken import FILES, Spoken


def spoken_by(run: Run, dataset: Dataset) -> Dataset:
    """The dataset with that language stream.

    Raises:
        DataError: a split does not say what was said.
    """
    return spoken_in(dataset, spoken_of(run))


def spoken_in(dataset: Dataset, spoken: Spoken) -> Dataset:
    """The dataset with the language stream that this tokenizer and front make; errors are those of `spoken_by`."""
    return dataclasses.replace(
        dataset, splits={name: _spoken(spoken, split, name, dataset) for name, split in dataset.splits.items()}
    )


def unspoken(dataset: Dataset, dim: int) -> Dataset:
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


def spoken_ids(words: Words, texts: Sequence[str], length: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The texts that have a word, as an encoder's graph of that length takes them: `ids` and `valid` (1, length)."""
    for ids in words.ids(texts):
        kept = ids[:length]
        if len(kept):
            valid = (np.arange(length) < len(kept)).astype(np.float32)
            yield {"ids": np.pad(kept, (0, length - len(kept)))[None], "valid": valid[None]}


def carry_spoken(source: Path, work: Path) -> None:
    """Copy tokenizer and front of a run into the folder of one that reads words by them."""
    for name in FILES:
        try:
            shutil.copyfile(source / name, work / name)
        except OSError as error:
            raise RunError(
                f"{source / name} cannot be copied ({error.strerror or error}): free space, run it again"
            ) from None


def _spoken(spoken: Spoken, split: Split, name: str, dataset: Dataset) -> Split:
    _require_texts(split, name, dataset)
    return with_language(split, spoken.frames(split.texts))


def _require_texts(split: Split, name: str, dataset: Dataset) -> None:
    if len(split) and not split.texts:
        raise DataError(
            f"the {name} split of {dataset.name} does not say what was said, and the model reads words: "
            "give data with raw text"
        )
