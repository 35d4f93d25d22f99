"""A small dataset whose frames contain the score of the sample, plus noise."""

from __future__ import annotations

import numpy as np

from edge_msa.data.dataset import Dataset, Frames, Split, SplitName
from edge_msa.data.tasks import MOSI, Task
from edge_msa_runtime.modalities import MODALITIES


def toy_dataset(
    task: Task = MOSI,
    train: tuple[str, ...] = MODALITIES,
    valid: tuple[str, ...] = MODALITIES,
    sizes: tuple[int, int] = (64, 40),
) -> Dataset:
    """Return a dataset with these modalities and numbers of samples in the train and valid splits."""
    splits: dict[SplitName, Split] = {
        "train": _split(sizes[0], 1, task, train),
        "valid": _split(sizes[1], 2, task, valid),
    }
    return Dataset("toy", task, splits, "toy")


def _split(count: int, seed: int, task: Task, names: tuple[str, ...]) -> Split:
    rng = np.random.default_rng(seed)
    score = rng.uniform(-2, 2, count).astype(np.float32)
    modalities = {}
    for name in names:
        values = rng.normal(size=(count, 5, 3)).astype(np.float32)
        values[:, :, 0] += score[:, None]
        modalities[name] = Frames(np.arange(5)[None] < rng.integers(3, 6, (count, 1)), values)
    labels = score if task.is_score else (score[:, None] > np.linspace(-1, 1, 4)).astype(np.float32)
    ids = tuple(f"{seed}-{row}" for row in range(count))
    return Split(ids, ids, labels, modalities)
